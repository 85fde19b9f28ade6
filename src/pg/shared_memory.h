// Structures in shared memory, each with a lock of its own.
#pragma once
#include "pg/prelude.h"

extern "C" {
#include "storage/lwlock.h"
}

namespace pgbraid::pg {

// One of them. It is there from the start of the server to its end; a crash makes it anew.
struct SharedArea {
	const char *name; // of the memory and of its lock, in pg_shmem_allocations and pg_stat_activity; a literal
	Size (*size)();	  // asked when the settings are known
	void (*begin)(void *memory, LWLock *lock); // in the postmaster, once: makes the structure
	void (*attach)(void *memory);			   // there, too: remembers where it is, which processes inherit
};

// In _PG_init, under shared_preload_libraries.
void add_shared_area(const SharedArea &area);

} // namespace pgbraid::pg
