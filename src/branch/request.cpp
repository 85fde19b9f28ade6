#include "branch/request.h"

#include "branch/gate.h"
#include "branch/verbs.h"
#include "core/branch/name.h"
#include "pg/compat.h"
#include "pg/json.h"

extern "C" {
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/syscache.h"
}

#include <algorithm>

namespace pgbraid::branch {

namespace {

// The members of the request, which our own SQL has made.
class Given : public pg::JsonObject {
public:
	explicit Given(const Jsonb *json) : JsonObject(&json->root) {}

	template <size_t N>
	void copy(const char *key, char (&into)[N]) const
	{
		std::string given = text(key);
		if (given.size() >= N)
			throw pg::Failure({.sqlstate = "22001",
							   .message = std::string(key) + " is longer than " + std::to_string(N - 1) + " bytes"});
		strlcpy(into, given.c_str(), N);
	}
	int number(const char *key) const { return (int) std::clamp<int64>(integer(key), PG_INT32_MIN, PG_INT32_MAX); }
	template <typename Choice, size_t N>
	Choice choice(const char *key, const char *const (&names)[N]) const
	{
		std::string given = text(key);
		for (size_t i = 0; i < N; i++)
			if (given == names[i])
				return static_cast<Choice>(i);
		return given.empty() ? Choice{} : refuse<Choice>(key, given, names);
	}

private:
	template <typename Choice, size_t N>
	[[noreturn]] static Choice refuse(const char *key, const std::string &given, const char *const (&names)[N])
	{
		std::string known;
		for (const char *name : names)
			if (name[0] != '\0')
				known += std::string(known.empty() ? "" : ", ") + name;
		throw pg::Failure({.sqlstate = "22023",
						   .message = std::string("invalid value for ") + key + ": \"" + given + "\"",
						   .hint = "It is one of " + known + "."});
	}
};

constexpr const char *sessions[] = {"terminate", "terminate_idle", "keep"};
constexpr int most_spares = 16;
constexpr const char *modes[] = {"live", "exclusive"};
constexpr const char *methods[] = {"auto", "clone", "wal"};
constexpr const char *kinds[] = {"", "branch", "snapshot"};

Verb wanted_verb(FunctionCallInfo fcinfo)
{
	auto verb = verb_of(pg::call([&] { return text_to_cstring(PG_GETARG_TEXT_PP(0)); }));
	if (!verb)
		throw pg::Failure({.sqlstate = "22023", .message = "unknown operation on branches"});
	return *verb;
}

bool has_createdb()
{
	return pg::call([] {
		HeapTuple row = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetOuterUserId()));
		if (!HeapTupleIsValid(row))
			return false;
		auto *role = reinterpret_cast<Form_pg_authid>(GETSTRUCT(row));
		bool allowed = role->rolsuper || role->rolcreatedb;
		ReleaseSysCache(row);
		return allowed;
	});
}

void authorise(const Request &request)
{
	if (!pg::call([&] { return pg::owns_database(request.database, GetOuterUserId()); }))
		throw pg::Failure({.sqlstate = "42501",
						   .message = "must be owner of the database",
						   .hint = "Branches belong to the owner of the database."});
	if (traits_of(request.verb).makes_databases && !has_createdb())
		throw pg::Failure({.sqlstate = "42501",
						   .message = "permission denied to create a database",
						   .hint = "ALTER ROLE ... CREATEDB gives the right."});
}

void refuse_in_midst()
{
	if (pg::call([] { return RecoveryInProgress(); }))
		throw pg::Failure(
			{.sqlstate = "25006", .message = "a standby has no branches of its own", .hint = "Ask the primary."});
	// A function that a table's owner has put in the way of ANALYZE, say, would act with the rights of who runs that.
	if (InSecurityRestrictedOperation())
		throw pg::Failure(
			{.sqlstate = "42501", .message = "branches can't be changed within a security-restricted operation"});
	// The process waits for whoever has written, so that it would wait for us, who wait for it.
	if (is_writing() || TransactionIdIsValid(GetTopTransactionIdIfAny()))
		throw pg::Failure({.sqlstate = "25001",
						   .message = "branches can't be changed by a transaction that has written",
						   .hint = "COMMIT first, and call it as a statement of its own."});
}

void check_names(const Request &request)
{
	if (request.verb != Verb::undo)
		(void) pg::take(core::branch::checked_name(request.name));
	if (request.verb == Verb::rename)
		(void) pg::take(core::branch::checked_name(request.new_name));
}

void check_spares(const Request &request)
{
	if (request.spares < 0 || request.spares > most_spares)
		throw pg::Failure({.sqlstate = "22023",
						   .message = "a snapshot has 0 to " + std::to_string(most_spares) + " spares",
						   .hint = "Each is a copy of it on the disk."});
}

void refuse_own_end(const Request &request)
{
	if (request.mode == Mode::exclusive && request.connect == MyDatabaseId)
		throw pg::Failure({.sqlstate = "55006",
						   .message = "an exclusive copy would end this session",
						   .hint = "Call it from another database, with database => ..., or leave mode as it is."});
}

} // namespace

Request request_from(FunctionCallInfo fcinfo)
{
	Given given(pg::call([&] { return PG_GETARG_JSONB_P(3); }));
	Request request{};
	request.verb = wanted_verb(fcinfo);
	request.database = PG_GETARG_OID(1);
	request.connect = PG_GETARG_OID(2);
	request.role = GetOuterUserId();
	given.copy("name", request.name);
	given.copy("new_name", request.new_name);
	given.copy("description", request.description);
	request.kind = given.choice<Wanted>("kind", kinds);
	request.spares = given.number("spares");
	request.is_forced = given.boolean("force");
	request.switches = given.boolean("switch");
	request.creates = given.boolean("create");
	request.mode = given.choice<Mode>("mode", modes);
	request.method = given.choice<Method>("method", methods);
	request.sessions = given.choice<Sessions>("sessions", sessions);
	request.timeout_ms = given.number("timeout");
	request.gate_timeout_ms = given.number("gate_timeout");
	request.deadline_ms = given.number("deadline");
	return request;
}

void check(const Request &request)
{
	check_names(request);
	check_spares(request);
	authorise(request);
	refuse_in_midst();
	refuse_own_end(request);
}

} // namespace pgbraid::branch
