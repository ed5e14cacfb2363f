# find_package(heldby): heldby::heldby (endpoint and core), heldby::core, heldby::core_static; with
# COMPONENTS asio, or where Boost's headers are found anyway, heldby::asio; with COMPONENTS absl, or
# where Abseil is, heldby::absl; with COMPONENTS prometheus, or where prometheus-cpp is, heldby::prometheus; with
# COMPONENTS testing, or where GoogleTest is, heldby::testing.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/heldby)
install(TARGETS heldby heldby_core heldby_core_static EXPORT heldbyTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS heldby_asio EXPORT heldbyAsioTargets)
install(TARGETS heldby_absl EXPORT heldbyAbslTargets)
install(TARGETS heldby_prometheus_cpp EXPORT heldbyPrometheusTargets)
install(TARGETS heldby_testing EXPORT heldbyTestingTargets)
install(TARGETS heldby_tool RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
# The face looks for its helper beside itself.
if(TARGET heldby-symbolizer)
install(TARGETS heldby-symbolizer RUNTIME DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/heldby DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT heldbyTargets NAMESPACE heldby:: DESTINATION ${package_dir})
install(EXPORT heldbyAsioTargets NAMESPACE heldby:: DESTINATION ${package_dir})
install(EXPORT heldbyAbslTargets NAMESPACE heldby:: DESTINATION ${package_dir})
install(EXPORT heldbyPrometheusTargets NAMESPACE heldby:: DESTINATION ${package_dir})
install(EXPORT heldbyTestingTargets NAMESPACE heldby:: DESTINATION ${package_dir})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/exporters/prometheus/mixin DESTINATION ${CMAKE_INSTALL_DATADIR}/heldby)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/heldbyConfig.cmake.in
  ${PROJECT_BINARY_DIR}/heldbyConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/heldbyConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/heldbyConfig.cmake
  ${PROJECT_BINARY_DIR}/heldbyConfigVersion.cmake DESTINATION ${package_dir})
