# genet: the short way to the usual jobs; CMake does the work.
#   make            build             make test       install what is missing, build, run all tests
#   make demo       install what is missing, build, train a small GPT, let it write
#   make install    PREFIX=/usr/local make clean      remove build/
BUILD  ?= build
PREFIX ?= /usr/local
JOBS   ?= $(shell nproc 2>/dev/null || echo 2)
CMAKE_FLAGS ?=

# The make that cmake starts takes its number of jobs from -j, not from this one.
COMPILE = env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS cmake --build $(BUILD) -j$(JOBS)
GENET   = $(BUILD)/genet

.PHONY: all configure demo test clean install

all: configure
	@$(COMPILE)

configure:
	@said=$$(cmake -S . -B $(BUILD) -DCMAKE_INSTALL_PREFIX=$(PREFIX) $(CMAKE_FLAGS) 2>&1) || { echo "$$said"; exit 1; }

demo:
	@tools/install-deps.sh
	@$(MAKE) --no-print-directory configure CMAKE_FLAGS="$(CMAKE_FLAGS)"
	@$(COMPILE) --target genet --target demo-text
	@rm -rf $(BUILD)/demo-run
	$(GENET) train gpt2 --data $(BUILD)/demo.txt --out $(BUILD)/demo-run --max-steps 1500 --eval-steps 500 --log-steps 100
	$(GENET) generate $(BUILD)/demo-run -p "The " -n 300

test:
	@tools/install-deps.sh tests
	@$(MAKE) --no-print-directory configure CMAKE_FLAGS="$(CMAKE_FLAGS)"
	@$(COMPILE)
	@cd $(BUILD) && ctest --output-on-failure -j2

install: all
	@cmake --install $(BUILD)

clean:
	rm -rf $(BUILD)
