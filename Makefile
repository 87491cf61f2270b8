# chipshot: build, test, check. `make help` lists the targets.
#
# Knobs: SANITIZE=address|undefined|thread (comma for more than one), DEBUG=1, V=1.

VERSION := 0.1.0

comma := ,
BUILD := build$(if $(SANITIZE),/$(subst $(comma),-,$(SANITIZE)))$(if $(DEBUG),/debug)
Q := $(if $(V),,@)

CC ?= cc
PKG_CONFIG ?= pkg-config
PACKAGES := libmicrohttpd jansson libpng sqlite3 nettle zlib libisal
# Of which headers are used, and which the program loads by itself (engine/linear.c).
LOADED_PACKAGES := openblas
TEST_PACKAGES := cmocka libcurl
WARNINGS := -Wall -Wextra -Wmissing-prototypes -Wstrict-prototypes -Wshadow -Wvla -Werror
OPTIMISE := $(if $(DEBUG),-O0,-O2)
SANITIZE_FLAGS := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer)
CPPFLAGS += -I. -D_GNU_SOURCE -DCHIPSHOT_VERSION='"$(VERSION)"' -include base/banned.h \
	$(shell $(PKG_CONFIG) --cflags $(PACKAGES) $(LOADED_PACKAGES) 2>/dev/null)
CFLAGS += -std=c17 -g $(OPTIMISE) $(WARNINGS) $(SANITIZE_FLAGS) -fstack-protector-strong -pthread
# Sums must not depend on how the compiler contracts or reorders them: results are reproducible.
CFLAGS += -ffp-contract=off
LDFLAGS += $(SANITIZE_FLAGS) -pthread -Wl,-z,relro,-z,now
LDLIBS += $(shell $(PKG_CONFIG) --libs $(PACKAGES) 2>/dev/null) -lm
TEST_LDLIBS := $(shell $(PKG_CONFIG) --libs $(TEST_PACKAGES) 2>/dev/null)

LAYERS := base engine db api server
SOURCES := $(sort $(foreach layer,$(LAYERS),$(shell find $(layer) -name '*.c')))
LIBRARY_OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(filter-out server/main.c,$(SOURCES)))
ASSETS := $(BUILD)/server/cli/assets.o
TEST_SOURCES := $(sort $(shell find tests -name 'test_*.c'))
TEST_HELPERS := $(sort $(shell find tests/unit tests/api tests/http -name '*.c' ! -name 'test_*.c'))
TEST_PROGRAMS := $(patsubst %.c,$(BUILD)/%,$(TEST_SOURCES))
TEST_OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(TEST_SOURCES) $(TEST_HELPERS))
# Programs that are no tests: other targets run them.
PROGRAM_OBJECTS := $(BUILD)/tests/parity/parity_embed.o $(BUILD)/tests/bench/roofline.o \
	$(BUILD)/tests/bench/http_baseline.o $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/fuzz/*.c))
LIBRARY := $(BUILD)/libchipshot.a
# TESTS picks test programs by their names or folders (test_pool, unit/engine).
SELECTED_TESTS := $(if $(TESTS),$(sort $(foreach word,$(TESTS),\
	$(filter %/$(word) $(BUILD)/tests/$(word)/%,$(TEST_PROGRAMS)))),$(TEST_PROGRAMS))

.DELETE_ON_ERROR:
.SECONDARY: $(TEST_OBJECTS) $(PROGRAM_OBJECTS)
.PHONY: all help deps deps-test check-deps run demo accuracy across cases claims frontier picture study variants ablation parity bench-http bench-peers bench-dense \
	bench-borders bench-objects bench-rims bench-pictures bench-palette same-results bench-click bench-hostile bench-smoke roofline performance golden train-smoke train-determinism fuzz gate test test-run check clean

all: $(BUILD)/chipshot ## build the program

help: ## list the targets
	@awk -F':.*## ' '/^[a-z][a-z-]*:.*## /{printf "%-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Without the libraries the first compiler error would be a riddle.
.PHONY: libraries
libraries:
	@$(PKG_CONFIG) --exists $(PACKAGES) $(LOADED_PACKAGES) || { echo "make: libraries are missing; run 'make deps'" >&2; exit 1; }

$(BUILD)/%.o: %.c | libraries
	@mkdir -p $(@D)
	@$(if $(V),,echo "  CC   $<")
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

# Each set of kernels is compiled for its own instructions; the program asks the processor before it
# calls one. -O3 unrolls their small loops.
$(BUILD)/engine/encoder/kernels/%.o: CFLAGS += -O3
ifneq ($(filter x86_64%,$(shell $(CC) -dumpmachine)),)
$(BUILD)/engine/encoder/kernels/avx2.o: CFLAGS += -mavx2 -mfma
$(BUILD)/engine/encoder/kernels/avx512.o: CFLAGS += -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma
$(BUILD)/engine/encoder/kernels/avx512_bf16.o: CFLAGS += -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512bf16 -mfma
$(BUILD)/engine/encoder/kernels/avx512_vnni.o: CFLAGS += -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mfma
endif
# Loops over embeddings, which -O2 leaves scalar. The order of sums stays as written.
ifndef DEBUG
$(BUILD)/engine/fewshot/%.o: OPTIMISE := -O3
# So are those over pixels and feature maps. Roots in a loop are taken at once if none sets errno.
$(BUILD)/engine/dense/%.o: CFLAGS += -fno-math-errno
$(BUILD)/engine/dense/%.o $(BUILD)/engine/image/chip_resample.o $(BUILD)/engine/image/png_rows.o $(BUILD)/engine/image/png_write.o $(BUILD)/engine/image/preview.o: OPTIMISE := -O3
endif

# The default encoder and openapi.yaml are part of the program, so that it is one file to install.
$(ASSETS): server/cli/assets.S models/default.safetensors openapi.yaml
	@mkdir -p $(@D)
	$(Q)$(CC) -c $< -o $@

$(LIBRARY): $(LIBRARY_OBJECTS) $(ASSETS)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(BUILD)/chipshot: $(BUILD)/server/main.o $(LIBRARY)
	@$(if $(V),,echo "  LD   $@")
	$(Q)$(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@

$(BUILD)/libtests.a: $(patsubst %.c,$(BUILD)/%.o,$(TEST_HELPERS))
	@mkdir -p $(@D)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/libtests.a $(LIBRARY)
	@$(if $(V),,echo "  LD   $@")
	$(Q)$(CC) $(LDFLAGS) $< $(BUILD)/libtests.a $(LIBRARY) $(TEST_LDLIBS) $(LDLIBS) -o $@

deps: ## install what building needs (apt on Debian and Ubuntu)
	@./deps.sh build

deps-test: ## install what testing needs
	@./deps.sh build test

run: all ## start the server for a user on loopback
	$(BUILD)/chipshot serve

demo: ## run the main job on synthetic and real micrographs, through HTTP
	@./deps.sh build demo
	@$(MAKE) --no-print-directory all
	@tests/demo.sh $(BUILD)/chipshot

test: deps-test ## build and run all tests
	@$(MAKE) --no-print-directory test-run

test-run: all $(SELECTED_TESTS) ## run the tests, installing nothing; TESTS='test_pool unit/engine ...' picks some
	@CHIPSHOT_BINARY=$(abspath $(BUILD)/chipshot) tests/run.sh $(SELECTED_TESTS)

gate: all ## send the raw requests of tests/gate/cases to the program, and compare what comes back
	@./deps.sh build gate
	@python3 tests/gate/gate.py $(abspath $(BUILD)/chipshot)

accuracy: all ## few-shot accuracy on the labelled micrographs of CHIPSHOT_SHARED
	@tests/accuracy.sh $(BUILD)/chipshot $(OPTIONS)

cases: all ## small inputs that once got a wrong answer, from CHIPSHOT_SHARED, each beside what is expected; NAMES='info-bar' picks some
	@./deps.sh cases
	@/usr/bin/python3 tests/cases.py $(BUILD)/chipshot $(NAMES)

frontier: all ## accuracy against time: encodings, input sizes, stages, transforms; writes docs/accuracy.md (10 minutes; ENCODER=FILE: prints)
	@./deps.sh study
	@/usr/bin/python3 models/study/frontier.py $(BUILD)/chipshot \
		$(if $(ENCODER),--encoder $(ENCODER),--document docs/accuracy.md) $(OPTIONS)

picture: all ## make the README's picture anew, after the weights or the scene changed
	@./deps.sh demo
	@tests/picture.sh $(BUILD)/chipshot docs/perovskite-on-diamond-overlay.png

bench-http: all $(BUILD)/tests/bench/http_baseline ## requests a second and latency beside a bare libmicrohttpd program, idle and beside a job (needs wrk)
	@tests/bench/http.sh $(BUILD)/chipshot $(BUILD)/tests/bench/http_baseline

bench-hostile: all ## one client's dear requests beside another's small ones, and SIGTERM amid them (3 minutes)
	@python3 tests/bench/hostile.py $(BUILD)/chipshot

bench-click: all ## from an example more to the new labels of a 2048 x 2048 image, on one core: below 50 ms? (a minute; OPTIONS='--clicks 30')
	@python3 tests/bench/click.py $(BUILD)/chipshot $(OPTIONS)

bench-pictures: all ## label map and overlay of 2560 x 2560 pixels, on one core: below 60 ms? (a minute; OPTIONS='--rounds 30')
	@python3 tests/bench/pictures.py $(BUILD)/chipshot $(OPTIONS)

bench-palette: ## how well the default colours of classes are told apart, on dark and bright ground and by colour-blind eyes
	@./deps.sh borders
	@/usr/bin/python3 tests/bench/palette.py

bench-borders: all ## accuracy near borders of the coarse and the fine map, on drawn scenes (2 minutes)
	@./deps.sh borders
	@/usr/bin/python3 tests/bench/borders.py $(BUILD)/chipshot $(OPTIONS)

bench-objects: all ## how many objects are found and how large they are, against drawn particles (a minute)
	@./deps.sh borders
	@/usr/bin/python3 tests/bench/objects.py $(BUILD)/chipshot

bench-rims: all ## what giving mixtures to one of two classes changes on real maps of CHIPSHOT_SHARED (a minute); OPTIONS='0 1' are seeds
	@./deps.sh cases
	@/usr/bin/python3 tests/bench/rims.py $(BUILD)/chipshot $(OPTIONS)

same-results: all ## do a change's results keep their bytes? OLD=FILE is the program before it (a minute); BUT='overlay' leaves paths out
	@$(if $(OLD),,echo "make: OLD=FILE names the program to compare with" >&2; exit 2)
	@python3 tests/bench/same_results.py $(OLD) $(BUILD)/chipshot '$(BUT)'

study: all ## prototypes against training from scratch and others; writes docs/accuracy.md (10 minutes)
	@./deps.sh study
	@/usr/bin/python3 models/study/study.py $(BUILD)/chipshot docs
	@/usr/bin/python3 models/study/claims.py $(BUILD)/chipshot docs

across: all ## few-shot accuracy from one image to another, by what both are measured by (minutes)
	@/usr/bin/python3 models/study/claims.py $(BUILD)/chipshot docs across

claims: all ## what a result claims (probabilities, intervals, ...) held against labels; writes docs/accuracy.md (minutes)
	@./deps.sh study
	@/usr/bin/python3 models/study/claims.py $(BUILD)/chipshot docs

variants: all ## other classifiers on the same vectors, few-shot; writes docs/accuracy.md (a minute)
	@./deps.sh study
	@/usr/bin/python3 models/study/variants.py $(BUILD)/chipshot docs/accuracy.md

parity: $(BUILD)/tests/parity/parity_embed all ## compare the encoder with PyTorch (Debian's python3-torch)
	@./deps.sh parity
	@/usr/bin/python3 tests/parity/parity.py $< models/default.safetensors
	@/usr/bin/python3 tests/parity/whole_images.py $(BUILD)/chipshot models/default.safetensors
	@/usr/bin/python3 tests/parity/converted.py $(BUILD)/chipshot $<

bench-peers: $(BUILD)/tests/parity/parity_embed all ## speed against ONNX Runtime and PyTorch (5 to 15 minutes; OPTIONS='--rows resnet50 --rounds 3')
	@./deps.sh parity
	@/usr/bin/python3 tests/bench/peers.py $(BUILD)/chipshot $< $(OPTIONS)

bench-dense: all ## dense encoding against chips, whole jobs; OLD=FILE is a program from before it (3 minutes; OPTIONS='--rounds 9 --threads 2')
	@$(if $(OLD),,echo "make: OLD=FILE names the program to compare with" >&2; exit 2)
	@python3 tests/bench/dense_speed.py $(BUILD)/chipshot $(OLD) $(OPTIONS)

bench-smoke: $(BUILD)/tests/parity/parity_embed all ## try the programs that measure speed
	@./deps.sh parity bench
	@$(MAKE) --no-print-directory $(BUILD)/tests/bench/roofline
	@/usr/bin/python3 tests/bench/peers.py $(BUILD)/chipshot $< --rows tiny --rounds 1 --round-ms 20
	@$(BUILD)/tests/bench/roofline 1
	@/usr/bin/python3 tests/bench/work.py

# OpenBLAS as the measure of a good matrix product.
$(BUILD)/tests/bench/roofline: LDLIBS += $(shell $(PKG_CONFIG) --libs openblas 2>/dev/null)

roofline: ## what this machine's arithmetic and memory can do at best
	@./deps.sh build bench
	@$(MAKE) --no-print-directory $(BUILD)/tests/bench/roofline
	@$(BENCH_WRAP) $(BUILD)/tests/bench/roofline

performance: $(BUILD)/tests/parity/parity_embed all ## measure again; writes docs/performance.md
	@./deps.sh parity bench
	@$(MAKE) --no-print-directory $(BUILD)/tests/bench/roofline
	@/usr/bin/python3 tests/bench/performance.py docs/performance.md $(BUILD) $(SECTIONS)

golden: ## make the fixture of the default encoder anew, with PyTorch, after its weights changed
	@./deps.sh parity
	@/usr/bin/python3 tests/fixtures/encoder/make.py models/default.safetensors

ablation: all ## what each choice of a training is worth at equal short budgets; writes docs/accuracy.md (half an hour)
	@./deps.sh train
	@nice /usr/bin/python3 models/training/ablation.py $(BUILD)/chipshot docs/accuracy.md

train-smoke: all ## train a small encoder for a minute: it must beat chip mean+std on a synthetic scene
	@./deps.sh train
	@nice tests/train_smoke.sh $(BUILD)/chipshot

train-determinism: ## two trainings with one seed, and one in two pieces, must give the same file
	@./deps.sh train
	@nice tests/train_determinism.sh

FUZZ_TARGETS ?= $(patsubst tests/fuzz/%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))

fuzz: ## run the fuzz targets for FUZZ_SECONDS each, from their corpora; prints the edges reached
	@./deps.sh build test fuzz
	@FUZZ_TARGETS='$(FUZZ_TARGETS)' tests/fuzz/run.sh

$(BUILD)/tests/fuzz/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay.o \
		$(BUILD)/libtests.a $(LIBRARY)
	@$(if $(V),,echo "  LD   $@")
	$(Q)$(CC) $(LDFLAGS) $^ $(TEST_LDLIBS) $(LDLIBS) -o $@

.PHONY: fuzz-replay
fuzz-replay: $(addprefix $(BUILD)/tests/fuzz/,$(FUZZ_TARGETS)) ## give the fuzz targets their committed corpora, with any compiler
	@for name in $(FUZZ_TARGETS); do printf '%s: ' $$name; \
		$(BUILD)/tests/fuzz/$$name tests/fuzz/corpus/$$name/* $(wildcard tests/fixtures/encoder/*.safetensors) || exit 1; done

check-deps: ## install what checking needs
	@./deps.sh build test check

check: ## format, headers, banned functions, the laws of the house, openapi against routes
	@tests/check.sh

clean: ## remove everything that was built
	rm -rf build

-include $(patsubst %.o,%.d,$(LIBRARY_OBJECTS) $(BUILD)/server/main.o $(TEST_OBJECTS) \
	$(PROGRAM_OBJECTS))
