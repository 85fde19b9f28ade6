// The function behind the stat_* views: one row per entry of the registry.
#include "pg/rows.h"
#include "worker/registry.h"

namespace pgbraid::monitor {

namespace {

using pg::RowWriter;
using worker::Entry;

// A copy, so that nothing is allocated while the lock is held.
bool copy_entry(int index, Entry &copy)
{
	worker::Lock lock(worker::Lock::shared);
	const Entry &entry = worker::entries()[index];
	if (entry.kind == worker::Kind::none)
		return false;
	memcpy(static_cast<void *>(&copy), &entry, sizeof copy);
	return true;
}

void write(Entry &entry, const worker::Trouble &trouble, const ReturnSetInfo *result)
{
	RowWriter row;
	row.text(worker::name_of(entry.kind));
	row.add(ObjectIdGetDatum(entry.database), entry.database == InvalidOid);
	row.number(entry.object);
	row.text(NameStr(entry.name));
	row.text(NameStr(entry.database_name));
	row.text(worker::name_of(entry.state));
	row.add(Int32GetDatum(entry.pid), entry.pid == 0);
	row.time(entry.started_at);
	row.time(entry.pid == 0 ? entry.next_start_at : 0);
	row.number(Max(entry.starts - 1, 0));
	row.number((int64) pg_atomic_read_u64(&entry.events_published));
	row.number((int64) pg_atomic_read_u64(&entry.rows_snapshotted));
	row.number((int64) pg_atomic_read_u64(&entry.events_filtered));
	row.number((int64) pg_atomic_read_u64(&entry.retries));
	row.lsn(pg_atomic_read_u64(&entry.sent_lsn));
	row.lsn(pg_atomic_read_u64(&entry.acknowledged_lsn));
	row.time((TimestampTz) pg_atomic_read_u64(&entry.last_event_at));
	row.time((TimestampTz) pg_atomic_read_u64(&entry.acknowledged_at));
	row.text(trouble.sqlstate);
	row.text(trouble.message);
	row.text(trouble.hint);
	row.time(trouble.happened_at);
	row.store(result);
}

} // namespace

} // namespace pgbraid::monitor

PGBRAID_FUNCTION(pgbraid_workers)
{
	using namespace pgbraid;
	pg::call([&] {
		InitMaterializedSRF(fcinfo, 0);
		auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
		for (int i = 0; i < worker::entry_count(); i++) {
			worker::Entry entry;
			if (monitor::copy_entry(i, entry))
				monitor::write(entry, worker::trouble_of(worker::entries()[i]), result);
		}
	});
	return (Datum) 0;
}
