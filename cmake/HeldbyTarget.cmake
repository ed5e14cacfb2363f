# What every target of ours is compiled with. An interface target, so that a room's own
# CMakeLists.txt stays a list of files.
add_library(heldby_options INTERFACE)
target_compile_options(heldby_options INTERFACE -Wall -Wextra -fno-omit-frame-pointer)
target_include_directories(heldby_options INTERFACE
  ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/lib ${PROJECT_SOURCE_DIR})
if(HELDBY_SANITIZE STREQUAL "address")
  target_compile_options(heldby_options INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined)
  target_link_options(heldby_options INTERFACE -fsanitize=address,undefined)
elseif(HELDBY_SANITIZE STREQUAL "thread")
  target_compile_options(heldby_options INTERFACE -fsanitize=thread)
  target_link_options(heldby_options INTERFACE -fsanitize=thread)
elseif(NOT HELDBY_SANITIZE STREQUAL "")
  message(FATAL_ERROR "HELDBY_SANITIZE is '${HELDBY_SANITIZE}'; accepted: empty, address, thread")
endif()

# heldby_room(<name> SOURCES ... [USES ...])
# One folder of the face as a static, position-independent library `heldby_<name>`. The shared
# face is made of all of them whole; unit tests link just the room they are about.
function(heldby_room name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;USES")
  add_library(heldby_${name} STATIC ${arg_SOURCES})
  target_link_libraries(heldby_${name} PUBLIC heldby_options ${arg_USES})
  target_compile_options(heldby_${name} PRIVATE -fvisibility-inlines-hidden)
endfunction()

# heldby_test(<name> SOURCES ... [USES ...])
# A GoogleTest program; every TEST in it is a ctest of its own.
function(heldby_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;USES;LABELS")
  # Those that several threads of use libheldby.so in: what that means to ThreadSanitizer.
  if(HELDBY_SANITIZE STREQUAL "thread" AND "heldby_runtime" IN_LIST arg_USES)
    list(APPEND arg_SOURCES ${PROJECT_SOURCE_DIR}/tests/unit/core_under_tsan.cc)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE heldby_options ${arg_USES} GTest::gtest GTest::gtest_main)
  gtest_discover_tests(${name} TEST_PREFIX ${name}. DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 300 LABELS "${arg_LABELS}")
endfunction()
