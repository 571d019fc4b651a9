# Runs in cpack, on each component's tree before it becomes a package (Debian Policy 12): copyright,
# changelog, manual pages compressed, and modes.
set(packages_provider hwid-provider)
set(packages_transport ${CPACK_HWID_TRANSPORT_PACKAGE})
set(packages_transport-dev libhwid-transport-dev)
set(packages_tools hwid)

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

foreach(component provider transport transport-dev tools)
  set(root ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/${component}/usr)
  set(documents ${root}/share/doc/${packages_${component}})
  file(MAKE_DIRECTORY ${documents})
  configure_file(${CPACK_HWID_SOURCE}/cmake/debian/copyright ${documents}/copyright COPYONLY)
  configure_file(${CPACK_HWID_SOURCE}/CHANGELOG.md ${documents}/changelog COPYONLY)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/changelog ${documents}/changelog.Debian @ONLY)
  file(GLOB_RECURSE pages ${root}/share/man/*.[0-9])
  run(gzip -9nf ${documents}/changelog ${documents}/changelog.Debian ${pages})
  file(GLOB_RECURSE plain LIST_DIRECTORIES false ${root}/share/*)
  run(chmod u=rwX,go=rX ${plain}) # 0755 what is installed as a program, 0644 all else
endforeach()
# The administrator's, and empty.
file(MAKE_DIRECTORY ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/tools/etc/hwid)
