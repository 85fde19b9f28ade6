#include "catalog/announcements.h"

#include "pg/spi.h"

namespace pgbraid::catalog {

namespace {

constexpr char select_options[] =
	"SELECT coalesce(options->>'messages', 'false') = 'true', coalesce(options->>'message_subject', "
	"         'pgflow.{database}.message.{prefix}'), coalesce((options->>'transactions')::boolean, false), "
	"       coalesce(options->>'transaction_subject', 'pgflow.{database}.transaction'), "
	"       coalesce(options->>'schema_events', 'changes'), coalesce(options->>'oversize', 'split') "
	"  FROM pgbraid.flows WHERE id = $1";

constexpr char select_prefixes[] = "SELECT jsonb_array_elements_text(options->'messages') FROM pgbraid.flows "
								   " WHERE id = $1 AND jsonb_typeof(options->'messages') = 'array'";

// The table's name is the beginning of the description, which is kept as text.
constexpr char select_schemas[] =
	"SELECT relation::bigint, version, (since_lsn - '0/0')::bigint, since_seq, table_name, shape "
	"  FROM pgbraid.flow_schemas WHERE flow = $1 AND generation = $2";

constexpr char insert_schema[] =
	"INSERT INTO pgbraid.flow_schemas (flow, generation, relation, version, since_lsn, since_seq, table_name, shape) "
	"VALUES ($1, $2, $3::oid, $4, '0/0'::pg_lsn + $5, $6, $7, $8)";

constexpr char delete_schemas[] = "DELETE FROM pgbraid.flow_schemas "
								  " WHERE flow = $1 AND (generation <> $2 OR relation = $3::oid AND "
								  "       (since_lsn, since_seq) >= ('0/0'::pg_lsn + $4, $5))";

constexpr char forget[] = "DELETE FROM pgbraid.flow_schemas "
						  " WHERE flow = $1 AND generation = $2 AND (since_lsn, since_seq) > ('0/0'::pg_lsn + $3, $4)";

constexpr char insert_letter[] =
	"INSERT INTO pgbraid.dead_letters (flow, subject, message_id, lsn, seq, op, headers, payload, size, reason) "
	"VALUES ($1, $2, $3, '0/0'::pg_lsn + $4, $5, $6, $7, $8, octet_length($8), "
	"        format('larger than the %s bytes that the NATS server takes', $9)) "
	"ON CONFLICT (flow, message_id) DO NOTHING";

} // namespace

Announcements read_announcements(int64 flow)
{
	Announcements read;
	pg::spi::each(select_options, {pg::spi::bigint(flow)}, [&](const pg::spi::Row &row) {
		read.all_messages = row.boolean(1);
		read.message_subject = row.text(2);
		read.transactions = row.boolean(3);
		read.transaction_subject = row.text(4);
		read.schema_events = row.text(5);
		read.oversize = row.text(6);
	});
	pg::spi::each(select_prefixes, {pg::spi::bigint(flow)},
				  [&](const pg::spi::Row &row) { read.prefixes.push_back(row.text(1)); });
	return read;
}

core::SchemaHistory read_schemas(int64 flow, int64 generation)
{
	core::SchemaHistory history;
	pg::spi::each(select_schemas, {pg::spi::bigint(flow), pg::spi::bigint(generation)}, [&](const pg::spi::Row &row) {
		core::Position since{(core::Lsn) row.bigint(3), (uint64) row.bigint(4), 0};
		history.restore((Oid) row.bigint(1), {(uint64) row.bigint(2), since, row.text(5), row.text(6)});
	});
	return history;
}

void forget_schemas(int64 flow, int64 generation, core::Position after)
{
	using pg::spi::bigint;
	pg::spi::execute(forget, {bigint(flow), bigint(generation), bigint((int64) after.lsn), bigint((int64) after.seq)});
}

void save_schemas(int64 flow, int64 generation, const std::vector<core::SchemaHistory::Change> &changes)
{
	using pg::spi::bigint;
	for (const auto &[table, version] : changes) {
		auto lsn = bigint((int64) version.since.lsn), seq = bigint((int64) version.since.seq);
		pg::spi::execute(delete_schemas, {bigint(flow), bigint(generation), bigint(table), lsn, seq});
		pg::spi::execute(insert_schema,
						 {bigint(flow), bigint(generation), bigint(table), bigint((int64) version.version), lsn, seq,
						  pg::spi::text(version.table), pg::spi::text(version.shape)});
	}
}

void forget_dead_letters(int64 flow, const std::string &ids, core::Position after)
{
	pg::spi::execute(
		"DELETE FROM pgbraid.dead_letters WHERE flow = $1 AND starts_with(message_id, $2) "
		"   AND (lsn, seq) > ($3, $4) AND redriven_at IS NULL",
		{pg::spi::bigint(flow), pg::spi::text(ids), pg::spi::lsn(after.lsn), pg::spi::bigint((int64) after.seq)});
}

void save_dead_letter(int64 flow, const DeadLetter &letter, int64 max_payload)
{
	using pg::spi::bigint, pg::spi::text;
	pg::spi::execute(insert_letter,
					 {bigint(flow), text(letter.subject), text(letter.message_id), bigint((int64) letter.position.lsn),
					  bigint((int64) letter.position.seq), text(letter.op), text(letter.headers),
					  pg::spi::bytea(letter.payload), bigint(max_payload)});
}

} // namespace pgbraid::catalog
