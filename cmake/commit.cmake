# Write the header TO with the commit of the tree SOURCE, and only when it
# differs, so that nothing is compiled again for nothing.  Outside git, or as a
# copy inside somebody else's repository, the commit is unknown.
set(commit unknown)
find_program(GIT git)
if(GIT AND EXISTS ${SOURCE}/.git)
    execute_process(COMMAND ${GIT} -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=*
                    OUTPUT_VARIABLE said RESULT_VARIABLE failed ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(NOT failed AND said)
        set(commit ${said})
    endif()
endif()
set(text "#define GENET_COMMIT \"${commit}\"\n")
set(old "")
if(EXISTS ${TO})
    file(READ ${TO} old)
endif()
if(NOT old STREQUAL text)
    file(WRITE ${TO} "${text}")
endif()
