#include "branch/method.h"

#include "branch/cloning.h"
#include "pg/spi.h"

extern "C" {
#include "access/xlog.h"
#include "commands/tablespace.h"
#include "miscadmin.h"
}

#include <string>
#include <vector>

namespace pgbraid::branch {

namespace {

using namespace pg::spi;

constexpr char other_way[] = "options => '{\"method\": \"wal\"}' copies the contents, and \"auto\" takes what it can.";

// Whoever streams and has no logical slot may be a standby or a base backup.
constexpr char select_readers[] =
	"SELECT pg_catalog.string_agg(who, ', ' ORDER BY who) FROM ("
	"    SELECT 'replication slot ' || pg_catalog.quote_ident(slot_name) AS who FROM pg_catalog.pg_replication_slots "
	"     WHERE slot_type = 'physical' AND wal_status IS DISTINCT FROM 'lost' "
	"    UNION ALL "
	"    SELECT 'process ' || r.pid || ' sends WAL to ' || pg_catalog.quote_literal(r.application_name) "
	"      FROM pg_catalog.pg_stat_replication r "
	"     WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots s "
	"                        WHERE s.active_pid = r.pid AND s.slot_type = 'logical')) found";

// "": nobody.
std::string who_replays()
{
	if (pg::call([] { return XLogArchivingActive(); }))
		return "WAL is archived";
	std::string found;
	each(select_readers, {}, [&](const Row &row) { found = row.text(1); });
	return found;
}

// One of each tablespace, with something in it if any has.
std::vector<Stored> samples()
{
	std::vector<Stored> found;
	const std::vector<Stored> relations = read_relations();
	for (Oid tablespace : tablespaces_of(relations)) {
		const Stored *sample = nullptr;
		for (const Stored &relation : relations) {
			if (pg::tablespace_of(relation.files) != tablespace)
				continue;
			sample = &relation;
			if (has_contents(relation))
				break;
		}
		found.push_back(*sample);
	}
	return found;
}

[[noreturn]] void refuse(const Stored &sample)
{
	const char *name = pg::call([&] { return get_tablespace_name(pg::tablespace_of(sample.files)); });
	throw pg::Failure({.sqlstate = "0A000",
					   .message = "the files of the database can't be cloned",
					   .detail = std::string("The file system of tablespace \"") + (name ? name : "?") +
								 "\" can't clone; Btrfs and XFS can.",
					   .hint = other_way});
}

} // namespace

bool chooses_clone(Method wanted, Oid copy)
{
	if (wanted == Method::wal)
		return false;
	const bool must = wanted == Method::clone;
	const std::string readers = who_replays();
	if (!readers.empty() && must)
		throw pg::Failure({.sqlstate = "55000",
						   .message = "the files of the database can't be cloned where others replay its WAL",
						   .detail = readers + ".",
						   .hint = other_way});
	if (!readers.empty())
		return false;
	for (const Stored &sample : samples()) {
		if (can_clone(sample, copy))
			continue;
		if (must)
			refuse(sample);
		return false;
	}
	return true;
}

void check_nobody_replays()
{
	const std::string readers = who_replays();
	if (!readers.empty())
		throw pg::Failure({.sqlstate = "55006",
						   .message = "somebody has begun to replay WAL while the database was cloned",
						   .detail = readers + ".",
						   .hint = "Try again: it is copied through WAL then."});
}

} // namespace pgbraid::branch
