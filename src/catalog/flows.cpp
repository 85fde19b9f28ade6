#include "catalog/flows.h"

#include "pg/encoding.h"
#include "pg/spi.h"

extern "C" {
#include "catalog/pg_type_d.h"
#include "commands/extension.h"
#include "miscadmin.h"
}

namespace pgbraid::catalog {

namespace {

Flow flow_from(const pg::spi::Row &row)
{
	return {.id = row.bigint(1),
			.name = row.text(2),
			.publication = row.text(3),
			.owns_publication = row.boolean(4),
			.server = row.text(5),
			.stream = pg::to_utf8(row.text(6)),
			.subject = pg::to_utf8(row.text(7)),
			.format = row.text(8),
			.snapshot = row.text(9),
			.message_id = row.boolean(10),
			.replicas = row.bigint(11),
			.atomic = row.boolean(12),
			.rows_per_message = row.bigint(13),
			.wal_limit = row.bigint(14),
			.wal_policy = row.text(15),
			.owner = row.oid(16),
			.paused = row.boolean(17),
			.at_home = row.boolean(18),
			.revision = row.bigint(19),
			.failover = row.boolean(20),
			.follows_family = row.boolean(21),
			.rests = row.boolean(22),
			.is_of_family = row.boolean(23)};
}

ColumnRule column_rule_from(const pg::spi::Row &row)
{
	return {.table = row.text(1),
			.column = row.text(2),
			.mask = row.text(3),
			.keep = row.bigint(4),
			.value = row.text(5),
			.rename = row.text(6),
			.drop = row.boolean(7),
			.if_exists = row.boolean(8)};
}

constexpr char select_flows[] =
	"SELECT id, flow, publication, owns_publication, server, stream, subject, format, snapshot, "
	"       coalesce((options->>'message_id')::boolean, true), coalesce((options->>'replicas')::bigint, 1), "
	"       coalesce((options->>'atomic')::boolean, false), "
	"       coalesce((options->>'rows_per_message')::bigint, 1), "
	"       coalesce(pg_size_bytes(options->>'wal_limit'), 0), coalesce(options->>'wal_policy', 'alert'), "
	"       owner::oid, paused, home = pgbraid.here(), revision, coalesce((options->>'failover')::boolean, false), "
	"       coalesce(options->>'follow' = 'family', false), "
	"       coalesce(options->>'follow' = 'family' AND NOT b.checked_out, false), "
	"       pgbraid.is_of_family(home) "
	"  FROM pgbraid.flows LEFT JOIN pgbraid.branches b ON b.database_oid = $2 "
	" WHERE $1 IS NULL OR id = $1 ORDER BY id";

constexpr char select_column_rules[] =
	"SELECT t.key, c.key, coalesce(c.value->>'mask', ''), coalesce((c.value->>'keep')::bigint, 0), "
	"       coalesce(c.value->>'value', ''), coalesce(c.value->>'rename', ''), "
	"       coalesce((c.value->>'drop')::boolean, false), coalesce((c.value->>'if_exists')::boolean, false) "
	"  FROM pgbraid.flows, jsonb_each(options->'columns') t, jsonb_each(t.value) c WHERE id = $1";

constexpr char select_filters[] =
	"SELECT t.key, t.value FROM pgbraid.flows, jsonb_each_text(options->'filter') t WHERE id = $1";

} // namespace

std::string slot_name(int64 flow)
{
	return "pgflow_" + std::to_string(MyDatabaseId) + "_" + std::to_string(flow);
}

std::optional<std::vector<Flow>> read_flows()
{
	if (!pg::call([] { return OidIsValid(get_extension_oid("pgbraid", true)); }))
		return std::nullopt;
	std::vector<Flow> flows;
	pg::spi::each(select_flows, {{INT8OID, 0, true}, pg::spi::oid(MyDatabaseId)},
				  [&](const pg::spi::Row &row) { flows.push_back(flow_from(row)); });
	return flows;
}

std::optional<Flow> read_flow(int64 id)
{
	std::optional<Flow> flow;
	if (!pg::call([] { return OidIsValid(get_extension_oid("pgbraid", true)); }))
		return flow;
	pg::spi::each(select_flows, {pg::spi::bigint(id), pg::spi::oid(MyDatabaseId)},
				  [&](const pg::spi::Row &row) { flow = flow_from(row); });
	if (!flow)
		return flow;
	pg::spi::each(select_column_rules, {pg::spi::bigint(id)},
				  [&](const pg::spi::Row &row) { flow->columns.push_back(column_rule_from(row)); });
	pg::spi::each(select_filters, {pg::spi::bigint(id)}, [&](const pg::spi::Row &row) {
		flow->filters.push_back({row.text(1), row.text(2)});
	});
	return flow;
}

Progress read_progress(int64 flow)
{
	Progress progress;
	pg::spi::each(
		"SELECT generation, streaming, stream, first_sequence, settled_sequence, settled_lsn, settled_seq, "
		"       revision, revision_lsn, revision_sequence, secret::text, message_before, before_lsn, before_seq "
		"  FROM pgbraid.flow_progress WHERE flow = $1",
		{pg::spi::bigint(flow)}, [&](const pg::spi::Row &row) {
			progress = {.generation = row.bigint(1),
						.streaming = row.boolean(2),
						.stream = row.text(3),
						.first_sequence = (uint64) row.bigint(4),
						.message_before = (uint64) row.bigint(12),
						.before = {row.lsn(13), (uint64) row.bigint(14)},
						.settled = {.lsn = 0,
									.sequence = (uint64) row.bigint(5),
									.position = {row.lsn(6), (uint64) row.bigint(7)}},
						.revision = row.bigint(8),
						.revision_lsn = row.lsn(9),
						.revision_sequence = (uint64) row.bigint(10),
						.secret = row.text(11)};
		});
	return progress;
}

void begin_generation(int64 flow, int64 generation)
{
	pg::spi::execute("INSERT INTO pgbraid.flow_progress (flow, generation, streaming) VALUES ($1, $2, false) "
					 "ON CONFLICT (flow) DO UPDATE SET generation = $2, streaming = false",
					 {pg::spi::bigint(flow), pg::spi::bigint(generation)});
}

bool begin_streaming(int64 flow, int64 generation, const std::string &stream, uint64 first_sequence)
{
	return pg::spi::execute("UPDATE pgbraid.flow_progress SET streaming = true, stream = $3, first_sequence = $4, "
							"       message_before = 0, before_lsn = NULL, before_seq = 0, "
							"       settled_sequence = 0, settled_lsn = NULL, settled_seq = 0, "
							"       revision_lsn = NULL, revision_sequence = 0 "
							" WHERE flow = $1 AND generation = $2",
							{pg::spi::bigint(flow), pg::spi::bigint(generation), pg::spi::text(stream),
							 pg::spi::bigint((int64) first_sequence)}) == 1;
}

void change_stream(int64 flow, const std::string &stream, uint64 sequence)
{
	// What is known of snapshots are sequences of the stream before.
	pg::spi::execute(
		"DELETE FROM pgbraid.flow_snapshot_chunks c USING pgbraid.flow_snapshots s "
		" WHERE s.flow = $1 AND c.snapshot = s.id AND (s.finished_at IS NOT NULL OR c.stream_sequence < "
		"       (SELECT max(stream_sequence) FROM pgbraid.flow_snapshot_chunks l WHERE l.snapshot = s.id))",
		{pg::spi::bigint(flow)});
	pg::spi::execute("UPDATE pgbraid.flow_snapshot_chunks c SET stream_sequence = $2 FROM pgbraid.flow_snapshots s "
					 " WHERE s.flow = $1 AND c.snapshot = s.id",
					 {pg::spi::bigint(flow), pg::spi::bigint((int64) sequence)});
	pg::spi::execute("UPDATE pgbraid.flow_progress SET stream = $2, first_sequence = 0, "
					 "       message_before = 0, before_lsn = NULL, before_seq = 0, "
					 "       settled_sequence = 0, settled_lsn = NULL, settled_seq = 0, revision_sequence = 0 "
					 " WHERE flow = $1",
					 {pg::spi::bigint(flow), pg::spi::text(stream)});
}

void begin_turn(int64 flow, uint64 first_sequence, uint64 message, const core::Position &position)
{
	core::Position whole = core::last_whole(position);
	pg::spi::execute("UPDATE pgbraid.flow_progress SET first_sequence = $2, message_before = $3, before_lsn = $4, "
					 "       before_seq = $5 WHERE flow = $1",
					 {pg::spi::bigint(flow), pg::spi::bigint((int64) first_sequence), pg::spi::bigint((int64) message),
					  pg::spi::lsn(whole.lsn), pg::spi::bigint((int64) whole.seq)});
}

void begin_anew(int64 flow)
{
	pg::spi::execute("SELECT FROM pgbraid.flows WHERE id = $1 FOR UPDATE", {pg::spi::bigint(flow)});
	pg::spi::execute("SELECT pgbraid.begin_anew(id) FROM pgbraid.flows "
					 " WHERE id = $1 AND home <> pgbraid.here() AND options->>'follow' = 'family' AND NOT paused",
					 {pg::spi::bigint(flow)});
}

void begin_revision(int64 flow, int64 revision, core::Lsn lsn, uint64 sequence)
{
	pg::spi::execute(
		"UPDATE pgbraid.flow_progress SET revision = $2, revision_lsn = $3, revision_sequence = $4 "
		" WHERE flow = $1",
		{pg::spi::bigint(flow), pg::spi::bigint(revision), pg::spi::lsn(lsn), pg::spi::bigint((int64) sequence)});
}

void settle(int64 flow, const core::Checkpoint &settled)
{
	pg::spi::execute("UPDATE pgbraid.flow_progress SET settled_sequence = $2, settled_lsn = $3, settled_seq = $4 "
					 " WHERE flow = $1",
					 {pg::spi::bigint(flow), pg::spi::bigint((int64) settled.sequence),
					  pg::spi::lsn(settled.position.lsn), pg::spi::bigint((int64) settled.position.seq)});
}

int64 retained_wal(int64 flow)
{
	int64 retained = 0;
	pg::spi::each("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint FROM pg_replication_slots "
				  " WHERE slot_name = $1::name",
				  {pg::spi::text(slot_name(flow))}, [&](const pg::spi::Row &row) { retained = row.bigint(1); });
	return retained;
}

void pause_flow(int64 flow)
{
	pg::spi::execute("UPDATE pgbraid.flows SET paused = true WHERE id = $1", {pg::spi::bigint(flow)});
}

void drop_slot(int64 flow)
{
	pg::spi::execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
					 " WHERE slot_name = $1::name AND NOT active",
					 {pg::spi::text(slot_name(flow))});
}

bool drop_orphan_slots(bool extension_exists)
{
	// By number: while the database is given another name, the present one may be taken for that of another database.
	std::string orphan = "plugin = 'pgbraid' AND datoid = $1 AND slot_name LIKE 'pgflow\\_%'";
	if (extension_exists)
		orphan += " AND slot_name NOT IN (SELECT pgbraid.slot_name(id) FROM pgbraid.flows)";
	pg::spi::execute(
		("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active AND " + orphan).c_str(),
		{pg::spi::oid(MyDatabaseId)});
	return pg::spi::execute(("SELECT FROM pg_replication_slots WHERE " + orphan).c_str(),
							{pg::spi::oid(MyDatabaseId)}) == 0;
}

} // namespace pgbraid::catalog
