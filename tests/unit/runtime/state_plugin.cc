// A library whose word for a state is gone when it is unloaded.
extern "C" const char* StateOfPlugin() { return "a state of the plugin"; }
