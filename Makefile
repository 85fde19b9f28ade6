# PGXS: builds and installs the module, pgbraid-tail, pgbraid-worker and pgbranch. CMakeLists.txt builds the unit tests and fuzzers.
PG_CONFIG ?= pg_config
BRAID_VERSION := $(shell sed -n '/"version"/{s/.*: *"\([^"]*\)".*/\1/p;q}' META.json)

MODULE_big = pgbraid
SOURCES := $(shell find src -name '*.cpp' | LC_ALL=C sort)
OBJS = $(SOURCES:.cpp=.o)

EXTENSION = pgbraid
DATA_built = extension/pgbraid--$(BRAID_VERSION).sql
SCRIPTS_built = pgbraid-tail pgbraid-worker pgbranch
EXTRA_CLEAN = pgbraid.control $(SOURCES:.cpp=.d) $(wildcard tools/*.o tools/*.d)

REGRESS = $(sort $(patsubst sql/%.sql,%,$(wildcard sql/*.sql)))
ISOLATION = $(sort $(patsubst test/specs/%.spec,%,$(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test

# PGDLLEXPORT is empty before PostgreSQL 16, and all else is hidden.
# The server's headers count as system headers: our warnings are about our code.
WARNINGS = -Wall -Wextra -Werror -Wshadow -Wno-missing-field-initializers
PG_CPPFLAGS = -isystem $(shell $(PG_CONFIG) --includedir-server) -Isrc -DPGBRAID_VERSION='"$(BRAID_VERSION)"' \
	'-DPGDLLEXPORT=__attribute__((visibility("default")))'
PG_CXXFLAGS = -std=c++20 $(WARNINGS) -fvisibility=hidden -fvisibility-inlines-hidden -MMD -MP
SHLIB_LINK = -lnats -lcurl -lcrypto -lpthread

# PGXS drops PG_CXXFLAGS when it builds bitcode, links with the C compiler, and its flags are meant for C.
override with_llvm = no
override COMPILER = $(CXX) $(CXXFLAGS)
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

extension/pgbraid--$(BRAID_VERSION).sql: $(sort $(wildcard extension/[0-9]*.sql)) META.json
	cat $(filter %.sql,$^) > $@

all: pgbraid.control
pgbraid.control: pgbraid.control.in META.json
	sed 's/@version@/$(BRAID_VERSION)/' $< > $@

pgbraid-tail: tools/pgbraid-tail.o $(addprefix src/core/flow/,subject.o json.o json_scalars.o position.o base64.o)
	$(CXX) $(CXXFLAGS) $^ -lnats -lpthread -o $@

pgbraid-worker: tools/pgbraid-worker.o $(addprefix src/core/flow/,json.o json_scalars.o) src/nats/json.o
	$(CXX) $(CXXFLAGS) $^ -lnats -lpthread -o $@

pgbranch: $(sort $(wildcard tools/pgbranch/[0-9]*.bash)) META.json
	cat $(filter %.bash,$^) | sed 's/@version@/$(BRAID_VERSION)/' > $@
	chmod 755 $@

-include $(SOURCES:.cpp=.d) $(wildcard tools/*.d)
