# Join documents, public headers and sources of the tree SOURCE, in sorted
# order, into the text file TO.  Only ASCII is kept, and runs of blanks become
# one: a small alphabet for a small model, which need not learn to indent.
file(GLOB documents ${SOURCE}/README.md ${SOURCE}/docs/*.md)
file(GLOB headers ${SOURCE}/include/genet/*.h)
file(GLOB_RECURSE sources ${SOURCE}/src/*.c ${SOURCE}/src/*.h)
foreach(group documents headers sources)
    list(SORT ${group})
endforeach()
execute_process(COMMAND cat ${documents} ${headers} ${sources}
                COMMAND tr -cd "\\012\\040-\\176"
                COMMAND tr -s "\\040"
                OUTPUT_FILE ${TO} RESULT_VARIABLE failed)
if(failed)
    message(FATAL_ERROR "cannot write ${TO}")
endif()
