// PostgreSQL's base header, as every file of the shell needs it: first, and with C linkage.
#pragma once
extern "C" {
#include "postgres.h"

#include "fmgr.h"
}

// Marks what PostgreSQL finds by name; everything else in the module is hidden.
#define PGBRAID_EXPORT extern "C" PGDLLEXPORT
