// The dispatcher of this database, as its scheduler starts and ends it.
#pragma once
#include "pg/prelude.h"

extern "C" {
#include "datatype/timestamp.h"
}

namespace pgbraid::job {

// One step towards what there should be: one, or none. When the next step is due; 0: when something happens.
TimestampTz keep_dispatcher(bool is_wanted);

} // namespace pgbraid::job
