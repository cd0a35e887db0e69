# A toolchain for machines without one: the extension is Python and data, so nothing is ever compiled.
set(CMAKE_C_COMPILER ${Slicer_LAUNCHER_EXECUTABLE})
set(CMAKE_CXX_COMPILER ${Slicer_LAUNCHER_EXECUTABLE})
set(CMAKE_C_COMPILER_FORCED TRUE)
set(CMAKE_CXX_COMPILER_FORCED TRUE)
