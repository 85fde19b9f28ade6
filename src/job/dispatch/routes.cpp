#include "job/dispatch/routes.h"

#include "catalog/dispatch.h"
#include "pg/spi.h"
#include "pg/transaction.h"
#include "servers/options.h"

extern "C" {
#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/syscache.h"
}

#include <chrono>

namespace pgbraid::job {

namespace {

using std::chrono::milliseconds;

bool have_servers_changed = false;

void watch_servers()
{
	static bool is_watching = false;
	if (std::exchange(is_watching, true))
		return;
	pg::call([] {
		for (auto cache : {FOREIGNSERVEROID, USERMAPPINGOID})
			CacheRegisterSyscacheCallback(
				cache, [](Datum, int, uint32) { have_servers_changed = true; }, 0);
	});
}

std::string inbox_of(const std::string &server, Oid owner)
{
	std::string inbox = "pgbraid.jobs." + std::to_string(GetSystemIdentifier()) + "." + std::to_string(MyDatabaseId);
	if (server.empty())
		return inbox;
	Oid id = InvalidOid;
	pg::spi::each("SELECT oid FROM pg_foreign_server WHERE srvname = $1", {pg::spi::text(server)},
				  [&](const pg::spi::Row &row) { id = row.oid(1); });
	return inbox + "." + std::to_string(id) + "-" + std::to_string(owner);
}

void require_permission(const catalog::OfferedJob &job)
{
	if (!job.is_permitted)
		throw pg::Failure(
			{.sqlstate = "42501",
			 .message = "the owner of job " + std::to_string(job.id) + " may not use server \"" + job.server + "\"",
			 .hint = "GRANT USAGE ON FOREIGN SERVER to the owner, or give the job another server."});
}

} // namespace

bool Routes::servers_changed()
{
	return have_servers_changed;
}

void Routes::read()
{
	watch_servers();
	have_servers_changed = false;
	auto jobs = pg::in_transaction("looking for jobs to offer", [] { return catalog::read_offered_jobs(); });
	std::map<Key, Way> before = std::exchange(ways_, {});
	jobs_.clear();
	troubles_.clear();
	for (const auto &job : jobs) {
		Key key{job.server, job.owner};
		jobs_.emplace(job.id, key);
		if (ways_.contains(key) || troubles_.contains(key))
			continue;
		Way way;
		auto failed = pg::attempt("looking up a NATS server", [&] {
			require_permission(job);
			way.options = servers::connection_options(job.server, job.owner);
			way.options.name = "pgbraid jobs of database " + std::to_string(MyDatabaseId);
			way.inbox = inbox_of(job.server, job.owner);
		});
		if (failed) {
			troubles_.emplace(key, *failed);
			continue;
		}
		auto old = before.find(key);
		bool is_same = old != before.end() && old->second.options == way.options && old->second.inbox == way.inbox;
		ways_.emplace(key, is_same ? std::move(old->second) : std::move(way));
		open(key);
	}
	for (auto &[key, way] : before)
		if (way.courier)
			way.courier->stop(milliseconds(200));
}

void Routes::open(const Key &key)
{
	Way &way = ways_.at(key);
	if (way.courier)
		return;
	way.courier = std::make_unique<nats::Courier>(way.options, way.inbox, event_fd_);
	way.courier->start();
}

void Routes::look(const std::function<void(int64)> &anew)
{
	for (auto &[key, way] : ways_) {
		auto condition = way.courier->condition();
		if (condition.broken)
			throw pg::Failure(*condition.error);
		bool is_new = condition.connections != way.condition.connections;
		way.condition = std::move(condition);
		if (!is_new)
			continue;
		way.outlived = way.condition.errors;
		for (auto &[job, of] : jobs_)
			if (of == key)
				anew(job);
	}
}

Way *Routes::of_job(int64 job)
{
	auto found = jobs_.find(job);
	if (found == jobs_.end())
		return nullptr;
	auto way = ways_.find(found->second);
	return way == ways_.end() ? nullptr : &way->second;
}

void Routes::for_each(const std::function<void(Way &)> &f)
{
	for (auto &[key, way] : ways_)
		f(way);
}

std::vector<int64> Routes::closed_jobs() const
{
	std::vector<int64> closed;
	for (auto &[job, key] : jobs_) {
		auto way = ways_.find(key);
		if (way == ways_.end() || !way->second.is_open())
			closed.push_back(job);
	}
	return closed;
}

std::optional<pg::Caught> Routes::trouble() const
{
	for (auto &[key, error] : troubles_)
		return error;
	for (auto &[key, way] : ways_)
		if (way.condition.error && (!way.is_open() || way.condition.errors > way.outlived))
			return pg::Caught{way.condition.error->sqlstate, way.condition.error->message, way.condition.error->detail,
							  way.condition.error->hint};
	return std::nullopt;
}

void Routes::stop() noexcept
{
	for (auto &[key, way] : ways_)
		if (way.courier)
			way.courier->stop(milliseconds(200));
}

} // namespace pgbraid::job
