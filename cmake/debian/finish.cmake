# Runs in cpack, on each package that was made, for what its generator cannot do: it writes
# Multi-Arch from CMake 3.31 on only, and a call of ldconfig beside the trigger that does that.
function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

file(MAKE_DIRECTORY ${CPACK_TOPLEVEL_DIRECTORY}/finish)
foreach(package IN LISTS CPACK_PACKAGE_FILES)
  execute_process(COMMAND dpkg-deb -f ${package} Package OUTPUT_VARIABLE name
                  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  if(NOT name IN_LIST CPACK_HWID_MULTI_ARCH_SAME)
    continue()
  endif()
  set(tree ${CPACK_TOPLEVEL_DIRECTORY}/finish/${name})
  file(REMOVE_RECURSE ${tree})
  run(dpkg-deb --raw-extract ${package} ${tree})
  file(READ ${tree}/DEBIAN/control control)
  file(WRITE ${tree}/DEBIAN/control "Multi-Arch: same\n${control}")
  if(EXISTS ${tree}/DEBIAN/triggers)
    file(REMOVE ${tree}/DEBIAN/postinst ${tree}/DEBIAN/postrm)
  endif()
  run(dpkg-deb --build --root-owner-group ${tree} ${package})
endforeach()
