// Everything in the face comes from its rooms; CMake wants one source of its own.
