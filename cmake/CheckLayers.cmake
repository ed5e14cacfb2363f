# ctest `layers`: who may include whom, as a test that fails. The picture is in
# docs/architecture.md; a new edge is added in both places or not at all.
#
#   core  base <- stack <- registry <- sampler <- hooks <- core.h
#   face  profile <- {symbolize, leaks};  collect: the only door between both;  watch: beside it;
#         runtime: all of lib/
#   out   exporters: heldby/*.h, profile, base, exporters;  tools: those, and symbolize for files
cmake_minimum_required(VERSION 3.25)
set(core/base     core/base)
set(core/stack    core/stack core/base)
set(core/sampler  core/sampler core/registry core/stack core/base)
set(core/registry core/registry core/stack core/base)
set(core/hooks    core/hooks core/sampler core/registry core/stack core/base)
set(core/         core core/hooks core/sampler core/registry core/stack core/base)
set(profile       profile core/base)
set(symbolize     symbolize profile core/base)
set(leaks         leaks profile core/base)
set(collect       collect core leaks profile core/base)
set(watch         watch collect profile core core/base)
set(runtime       runtime watch collect leaks symbolize profile core core/base)
set(exporters     exporters profile core/base)
set(tools         tools exporters symbolize profile)
set(examples      examples)

file(GLOB_RECURSE files RELATIVE ${SOURCE_DIR}
  ${SOURCE_DIR}/lib/*.h ${SOURCE_DIR}/lib/*.cc ${SOURCE_DIR}/exporters/*.h ${SOURCE_DIR}/exporters/*.cc
  ${SOURCE_DIR}/tools/*.h ${SOURCE_DIR}/tools/*.cc ${SOURCE_DIR}/examples/*.h ${SOURCE_DIR}/examples/*.cc)
set(edges 0)
foreach(file IN LISTS files)
  if(file MATCHES "^lib/core/([a-z]+)/")
    set(layer core/${CMAKE_MATCH_1})
  elseif(file MATCHES "^lib/core/")
    set(layer core/)  # a file of lib/core itself
  elseif(file MATCHES "^lib/([a-z]+)/")
    set(layer ${CMAKE_MATCH_1})
  else()
    string(REGEX MATCH "^[a-z]+" layer ${file})
  endif()
  if(NOT DEFINED ${layer})
    message(SEND_ERROR "${file}: its folder has no row in cmake/CheckLayers.cmake")
    continue()
  endif()
  file(STRINGS ${SOURCE_DIR}/${file} lines REGEX "^#include \"")
  foreach(line IN LISTS lines)
    math(EXPR edges "${edges} + 1")
    string(REGEX MATCH "\"([^\"]+)\"" _ "${line}")
    get_filename_component(room "${CMAKE_MATCH_1}" DIRECTORY)
    if(room MATCHES "^core/([a-z]+)")
      set(room core/${CMAKE_MATCH_1})
    elseif(room MATCHES "^([a-z]+)")
      set(room ${CMAKE_MATCH_1})
    endif()
    # Abseil is a library (Google style quotes it), and one the core must not know.
    if(room STREQUAL "absl" AND NOT layer MATCHES "^core")
      # Its flat tables abort a host that has no memory for them to grow: profile/flat_hash.h.
      if(line MATCHES "/flat_hash_" AND NOT file STREQUAL "lib/profile/flat_hash.h" AND NOT layer STREQUAL "examples")
        message(SEND_ERROR "${file}: ${line}: \"profile/flat_hash.h\" in its place")
      endif()
      continue()
    endif()
    if(NOT room STREQUAL "heldby" AND NOT room IN_LIST ${layer})
      message(SEND_ERROR "${file}: ${line}: ${layer} may include only ${${layer}} and heldby/*.h")
    endif()
  endforeach()
endforeach()
if(edges LESS 20)
  message(SEND_ERROR "only ${edges} includes seen: the check is looking at the wrong tree")
endif()

# Public headers: the standard library and each other, nothing else. Boost and sockets may come
# through heldby/asio.h, which no other of them includes; Abseil through heldby/absl.h,
# prometheus-cpp through heldby/prometheus.h, GoogleTest through heldby/testing.h.
set(asio_may    "<boost/[a-z_/]+\\.hpp>|<sys/socket\\.h>|\"heldby/asio/[a-z_]+\\.h\"")
set(absl_may    "\"absl/[a-z_/]+\\.h\"")
set(prometheus_may "<prometheus/[a-z_/]+\\.h>")
set(testing_may "<gtest/gtest\\.h>")
file(GLOB_RECURSE public RELATIVE ${SOURCE_DIR} ${SOURCE_DIR}/include/heldby/*.h)
foreach(file IN LISTS public)
  set(allowed "<[a-z_]+>|\"heldby/[a-z_]+\\.h\"")
  if(file MATCHES "heldby/(asio|absl|prometheus|testing)[./]")
    set(allowed "${allowed}|${${CMAKE_MATCH_1}_may}")
  endif()
  file(STRINGS ${SOURCE_DIR}/${file} lines REGEX "^#include ")
  foreach(line IN LISTS lines)
    if(NOT line MATCHES "^#include (${allowed})" OR
       (line MATCHES "heldby/asio" AND NOT file MATCHES "heldby/asio"))
      message(SEND_ERROR "${file}: ${line}: a public header includes only the standard library")
    endif()
  endforeach()
endforeach()
