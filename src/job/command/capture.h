// Where the results of a command go: the first value of the last one is kept, so that a result of any size costs
// nothing.
#pragma once
#include "pg/prelude.h"

extern "C" {
#include "tcop/dest.h"
}

namespace pgbraid::job {

struct Capture {
	DestReceiver receiver; // first: PostgreSQL knows us by it
	MemoryContext context; // of the value
	char *value;		   // as text, in the database's encoding; null where there is none, or it is null
	bool has_row;
};

Capture make_capture(MemoryContext context);

} // namespace pgbraid::job
