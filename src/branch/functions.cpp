// What SQL calls: checks who asks and whether now is a time to ask, and hands it to a process.
#include "branch/gate.h"
#include "branch/operations.h"
#include "core/branch/name.h"
#include "pg/compat.h"
#include "worker/registry.h"

extern "C" {
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
}

#include <iterator>

namespace pgbraid::branch {

namespace {

// The members of the request, which our own SQL has made.
class Given {
public:
	explicit Given(Jsonb *json) : json_(json) {}

	template <size_t N>
	void text(const char *key, char (&into)[N]) const
	{
		into[0] = '\0';
		JsonbValue found;
		if (!find(key, found) || found.type != jbvString)
			return;
		if ((size_t) found.val.string.len >= N)
			throw pg::Failure({.sqlstate = "22001",
							   .message = std::string(key) + " is longer than " + std::to_string(N - 1) + " bytes"});
		memcpy(into, found.val.string.val, found.val.string.len);
		into[found.val.string.len] = '\0';
	}
	bool boolean(const char *key) const
	{
		JsonbValue found;
		return find(key, found) && found.type == jbvBool && found.val.boolean;
	}
	int integer(const char *key) const
	{
		JsonbValue found;
		if (!find(key, found) || found.type != jbvNumeric)
			return 0;
		return pg::call(
			[&] { return DatumGetInt32(DirectFunctionCall1(numeric_int4, NumericGetDatum(found.val.numeric))); });
	}
	template <typename Choice, size_t N>
	Choice choice(const char *key, const char *const (&names)[N]) const
	{
		char given[32];
		text(key, given);
		for (size_t i = 0; i < N; i++)
			if (strcmp(given, names[i]) == 0)
				return static_cast<Choice>(i);
		return given[0] == '\0' ? Choice{} : refuse<Choice>(key, given, names);
	}

private:
	bool find(const char *key, JsonbValue &found) const
	{
		return pg::call(
			[&] { return getKeyJsonValueFromContainer(&json_->root, key, (int) strlen(key), &found) != nullptr; });
	}
	template <typename Choice, size_t N>
	[[noreturn]] static Choice refuse(const char *key, const char *given, const char *const (&names)[N])
	{
		std::string known;
		for (const char *name : names)
			known += std::string(known.empty() ? "" : ", ") + name;
		throw pg::Failure({.sqlstate = "22023",
						   .message = std::string("invalid value for ") + key + ": \"" + given + "\"",
						   .hint = "It is one of " + known + "."});
	}

	Jsonb *json_;
};

constexpr const char *sessions[] = {"terminate", "terminate_idle", "keep"};
constexpr int most_spares = 16;
constexpr const char *methods[] = {"auto", "clone", "wal"};
constexpr const char *modes[] = {"live", "exclusive"};

Verb wanted_verb(FunctionCallInfo fcinfo)
{
	auto verb = verb_of(pg::call([&] { return text_to_cstring(PG_GETARG_TEXT_PP(0)); }));
	if (!verb)
		throw pg::Failure({.sqlstate = "22023", .message = "unknown operation on branches"});
	return *verb;
}

Request request_from(FunctionCallInfo fcinfo)
{
	Given given(pg::call([&] { return PG_GETARG_JSONB_P(3); }));
	Request request{};
	request.verb = wanted_verb(fcinfo);
	request.database = PG_GETARG_OID(1);
	request.connect = PG_GETARG_OID(2);
	request.role = GetOuterUserId();
	given.text("name", request.name);
	given.text("other", request.other);
	given.text("description", request.text);
	given.text("kind", request.kind);
	request.number = given.integer("number");
	request.is_forced = given.boolean("force");
	request.switches = given.boolean("switch");
	request.creates = given.boolean("create");
	request.is_exclusive = given.choice<int>("mode", modes) == 1;
	request.sessions = given.choice<Sessions>("sessions", sessions);
	request.method = given.choice<Method>("method", methods);
	request.timeout_ms = given.integer("timeout");
	request.gate_timeout_ms = given.integer("gate_timeout");
	request.deadline_ms = given.integer("deadline");
	return request;
}

bool makes_databases(Verb verb)
{
	return verb == Verb::set_spares || verb == Verb::snapshot || verb == Verb::create || verb == Verb::checkout ||
		   verb == Verb::reset;
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
	if (makes_databases(request.verb) && !has_createdb())
		throw pg::Failure({.sqlstate = "42501",
						   .message = "permission denied to create a database",
						   .hint = "ALTER ROLE ... CREATEDB gives the right."});
}

// The process waits for whoever has written, so that it would wait for us, who wait for it.
void refuse_in_midst()
{
	if (pg::call([] { return RecoveryInProgress(); }))
		throw pg::Failure(
			{.sqlstate = "25006", .message = "a standby has no branches of its own", .hint = "Ask the primary."});
	// A function that a table's owner has put in the way of ANALYZE, say, would act with the rights of who runs that.
	if (InSecurityRestrictedOperation())
		throw pg::Failure(
			{.sqlstate = "42501", .message = "branches can't be changed within a security-restricted operation"});
	if (is_writing() || TransactionIdIsValid(GetTopTransactionIdIfAny()))
		throw pg::Failure({.sqlstate = "25001",
						   .message = "branches can't be changed by a transaction that has written",
						   .hint = "COMMIT first, and call it as a statement of its own."});
}

void check_names(const Request &request)
{
	const bool has_other = request.verb == Verb::rename;
	if (request.verb != Verb::undo)
		(void) pg::take(core::branch::checked_name(request.name));
	if (request.number < 0 || request.number > most_spares)
		throw pg::Failure({.sqlstate = "22023",
						   .message = "a snapshot has 0 to " + std::to_string(most_spares) + " spares",
						   .hint = "Each is a copy of it on the disk."});
	if (has_other)
		(void) pg::take(core::branch::checked_name(request.other));
}

void refuse_own_end(const Request &request)
{
	if (request.is_exclusive && request.connect == MyDatabaseId)
		throw pg::Failure({.sqlstate = "55006",
						   .message = "an exclusive copy would end this session",
						   .hint = "Call it from another database, with database => ..., or leave mode as it is."});
}

class RowWriter {
public:
	void add(Datum value, bool is_null = false)
	{
		values_[count_] = value;
		nulls_[count_++] = is_null;
	}
	void text(const char *value) { add(value[0] ? CStringGetTextDatum(value) : (Datum) 0, value[0] == '\0'); }
	void store(const ReturnSetInfo *result)
	{
		tuplestore_putvalues(result->setResult, result->setDesc, values_, nulls_);
	}

private:
	Datum values_[16];
	bool nulls_[16];
	int count_ = 0;
};

bool copy_operation(int index, Operation &copy)
{
	Lock lock(false);
	const Operation &operation = operations()[index];
	bool is_live = operation.status == Operation::Status::posted || operation.status == Operation::Status::running;
	if (is_live)
		memcpy(static_cast<void *>(&copy), &operation, sizeof copy);
	return is_live;
}

void write(Operation &operation, const ReturnSetInfo *result)
{
	RowWriter row;
	row.add(ObjectIdGetDatum(operation.request.database));
	row.text(name_of(operation.request.verb));
	row.text(operation.request.name);
	row.text(name_of(static_cast<Phase>(pg_atomic_read_u32(&operation.phase))));
	row.add(Int32GetDatum((int32) pg_atomic_read_u32(&operation.attempts)));
	row.add(Int64GetDatum((int64) pg_atomic_read_u64(&operation.bytes_done)));
	row.add(Int64GetDatum((int64) pg_atomic_read_u64(&operation.bytes_total)));
	row.add(TimestampTzGetDatum(operation.started_at));
	row.add(Int32GetDatum(operation.pid), operation.pid == 0);
	row.add(Int32GetDatum(operation.client), !operation.has_client);
	row.store(result);
}

} // namespace

} // namespace pgbraid::branch

PGBRAID_FUNCTION(pgbraid_branch_operation)
{
	using namespace pgbraid::branch;
	pgbraid::worker::require_preload();
	Request request = request_from(fcinfo);
	check_names(request);
	authorise(request);
	refuse_in_midst();
	refuse_own_end(request);
	return ObjectIdGetDatum(perform(request));
}

PGBRAID_FUNCTION(pgbraid_branch_operations)
{
	using namespace pgbraid;
	pg::call([&] {
		InitMaterializedSRF(fcinfo, 0);
		for (int i = 0; i < branch::operation_count(); i++) {
			branch::Operation copy;
			if (branch::copy_operation(i, copy))
				branch::write(copy, reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo));
		}
	});
	return (Datum) 0;
}
