# The face: every room whole, in one shared object that shows the public API and nothing else.
# Linking it brings the core, and brings it first, ahead of any allocator on the link line: as a
# link option, since CMake puts what a library needs behind everything that the target itself
# names. Debian's linker then drops an allocator behind the core, because malloc is defined
# already: hence --no-as-needed, which stays on for the libraries that follow.
set(face_rooms heldby_profile heldby_leaks heldby_symbolize heldby_collect heldby_watch heldby_runtime heldby_pprof heldby_prometheus heldby_trace heldby_http heldby_preload)
add_library(heldby SHARED ${PROJECT_SOURCE_DIR}/cmake/empty.cc)
add_library(heldby::heldby ALIAS heldby)
set_target_properties(heldby PROPERTIES OUTPUT_NAME heldby-server EXPORT_NAME heldby)
target_include_directories(heldby PUBLIC
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(heldby PUBLIC cxx_std_20)
target_link_libraries(heldby PUBLIC heldby_core PRIVATE heldby_options)
target_link_options(heldby INTERFACE LINKER:--no-as-needed $<TARGET_FILE:heldby::core>)
# The rooms' objects, whole; linking the rooms themselves then only adds what they use.
foreach(room IN LISTS face_rooms)
  target_sources(heldby PRIVATE $<TARGET_OBJECTS:${room}>)
endforeach()
target_link_libraries(heldby PRIVATE ${face_rooms})
target_link_options(heldby PRIVATE
  -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/face-exports.map
  -Wl,--exclude-libs,ALL -Wl,-z,nodelete -Wl,-Bsymbolic-functions)
set_property(TARGET heldby APPEND PROPERTY LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/face-exports.map)

# heldby/asio.h: nothing but headers, whose user brings Boost's.
add_library(heldby_asio INTERFACE)
add_library(heldby::asio ALIAS heldby_asio)
set_target_properties(heldby_asio PROPERTIES EXPORT_NAME asio)
target_link_libraries(heldby_asio INTERFACE heldby $<INSTALL_INTERFACE:Boost::headers>)
# Of this folder alone are the targets that find_package(Boost) makes.
target_include_directories(heldby_asio SYSTEM INTERFACE $<BUILD_INTERFACE:${Boost_INCLUDE_DIRS}>)

# heldby/absl.h: compiled with the Abseil that its user brings.
add_library(heldby_absl INTERFACE)
add_library(heldby::absl ALIAS heldby_absl)
set_target_properties(heldby_absl PROPERTIES EXPORT_NAME absl)
target_link_libraries(heldby_absl INTERFACE heldby absl::base absl::synchronization)

# heldby/prometheus.h: compiled with the prometheus-cpp that its user brings.
add_library(heldby_prometheus_cpp INTERFACE)
add_library(heldby::prometheus ALIAS heldby_prometheus_cpp)
set_target_properties(heldby_prometheus_cpp PROPERTIES EXPORT_NAME prometheus)
target_link_libraries(heldby_prometheus_cpp INTERFACE heldby prometheus-cpp::core)

# heldby/testing.h: compiled with the GoogleTest that its user brings.
add_library(heldby_testing INTERFACE)
add_library(heldby::testing ALIAS heldby_testing)
set_target_properties(heldby_testing PROPERTIES EXPORT_NAME testing)
target_link_libraries(heldby_testing INTERFACE heldby GTest::gtest)
if(TARGET heldby-symbolizer)
  add_dependencies(heldby heldby-symbolizer)
endif()
