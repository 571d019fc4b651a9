# What every target is built with.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

option(HWID_WERROR "Warnings are errors" OFF)
set(HWID_SANITIZE "" CACHE STRING "Sanitizers for everything, e.g. address,undefined or thread")

add_compile_options(-Wall -Wextra -Wpedantic)
# Errors name source files as the repository does, wherever it was built.
add_compile_options(-ffile-prefix-map=${PROJECT_SOURCE_DIR}/=)
if(HWID_WERROR)
  add_compile_options(-Werror)
endif()
if(HWID_SANITIZE)
  add_compile_options(-fsanitize=${HWID_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${HWID_SANITIZE})
endif()

find_program(HWID_CCACHE ccache)
if(HWID_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${HWID_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${HWID_CCACHE})
endif()

# One static library a folder; it may include what it links to and nothing else.
function(hwid_folder_library name)
  add_library(${name} STATIC ${ARGN})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
endfunction()
