// What SQL calls.
#include "branch/client.h"
#include "branch/request.h"
#include "pg/rows.h"
#include "worker/registry.h"

extern "C" {
#include "miscadmin.h"
}

namespace pgbraid::branch {

namespace {

void write(Operation &operation, const ReturnSetInfo *result)
{
	pg::RowWriter row;
	row.add(ObjectIdGetDatum(operation.request.database));
	row.text(name_of(operation.request.verb));
	row.text(operation.request.name);
	row.text(name_of(static_cast<Phase>(pg_atomic_read_u32(&operation.phase))));
	row.integer((int32) pg_atomic_read_u32(&operation.attempts));
	row.number((int64) pg_atomic_read_u64(&operation.bytes_done));
	row.number((int64) pg_atomic_read_u64(&operation.bytes_total));
	row.time(operation.started_at);
	row.integer(operation.pid, operation.pid == 0);
	row.integer(operation.client, !operation.has_client);
	row.store(result);
}

} // namespace

} // namespace pgbraid::branch

PGBRAID_FUNCTION(pgbraid_branch_operation)
{
	using namespace pgbraid::branch;
	pgbraid::worker::require_preload();
	Request request = request_from(fcinfo);
	check(request);
	return ObjectIdGetDatum(perform(request));
}

PGBRAID_FUNCTION(pgbraid_caller)
{
	(void) fcinfo;
	return ObjectIdGetDatum(GetOuterUserId());
}

PGBRAID_FUNCTION(pgbraid_branch_operations)
{
	using namespace pgbraid;
	pg::call([&] {
		InitMaterializedSRF(fcinfo, 0);
		for (int i = 0; i < branch::operation_count(); i++) {
			branch::Operation copy;
			if (branch::read_operation(i, copy))
				branch::write(copy, reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo));
		}
	});
	return (Datum) 0;
}
