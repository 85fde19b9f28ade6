// What the SQL of a job can refer to as $1, $2 and $3.
#pragma once
#include "pg/prelude.h"

extern "C" {
#include "catalog/pg_type_d.h"
#include "datatype/timestamp.h"
#include "nodes/params.h"
}

namespace pgbraid::job {

struct Parameters {
	const char *payload; // $1, jsonb as text; null: null
	int attempt;		 // $2
	TimestampTz due_at;	 // $3
};

constexpr int parameter_count = 3;
constexpr Oid parameter_types[parameter_count] = {JSONBOID, INT4OID, TIMESTAMPTZOID};

// ereports.
ParamListInfo parameter_list(const Parameters &given);

} // namespace pgbraid::job
