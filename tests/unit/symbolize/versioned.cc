// A function with a version, which .symtab spells "Versioned@@PLUGIN_2".
extern "C" __attribute__((symver("Versioned@@PLUGIN_2"))) int __versioned_2() { return 2; }
