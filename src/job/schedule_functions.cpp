// What SQL can ask about schedules.
#include "core/job/description.h"
#include "core/job/expression_parser.h"
#include "job/definition.h"
#include "job/server_zone.h"
#include "pg/boundary.h"

extern "C" {
#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
}

namespace pgbraid::job {

namespace {

std::string text_argument(FunctionCallInfo fcinfo, int number)
{
	if (PG_ARGISNULL(number))
		return {};
	return pg::call([&] { return text_to_cstring(PG_GETARG_TEXT_PP(number)); });
}

std::string word_of(Jsonb *options, const char *key)
{
	const char *word = pg::call([&]() -> const char * {
		JsonbValue found;
		if (getKeyJsonValueFromContainer(&options->root, key, (int) strlen(key), &found) == nullptr ||
			found.type != jbvString)
			return "";
		return pnstrdup(found.val.string.val, found.val.string.len);
	});
	return word;
}

PolicyWords words_of(Jsonb *options)
{
	return {word_of(options, "day_match"), word_of(options, "dst_gap"), word_of(options, "dst_overlap")};
}

Jsonb *options_argument(FunctionCallInfo fcinfo, int number)
{
	return pg::call([&] { return PG_GETARG_JSONB_P(number); });
}

void require_values(FunctionCallInfo fcinfo, std::initializer_list<int> numbers)
{
	for (int number : numbers)
		if (PG_ARGISNULL(number))
			throw pg::Failure({.sqlstate = "22004",
							   .message = "schedule, moment, count and options can't be null",
							   .hint = "Leave out what has a default."});
}

} // namespace

} // namespace pgbraid::job

PGBRAID_FUNCTION(pgbraid_check_schedule)
{
	using namespace pgbraid::job;
	std::string schedule = text_argument(fcinfo, 0), zone = text_argument(fcinfo, 1);
	(void) zone_of(zone);
	if (!PG_ARGISNULL(0))
		(void) pgbraid::pg::take(pgbraid::core::job::parse_expression(schedule));
	PG_RETURN_VOID();
}

PGBRAID_FUNCTION(pgbraid_describe_schedule)
{
	using namespace pgbraid;
	std::string said = job::text_argument(fcinfo, 0);
	auto schedule = job::make_schedule(said, job::words_of(job::options_argument(fcinfo, 1)), {});
	std::string described = core::job::describe(schedule.expression(), schedule.policy().days);
	return pg::call([&] { return CStringGetTextDatum(described.c_str()); });
}

PGBRAID_FUNCTION(pgbraid_schedule_times)
{
	using namespace pgbraid;
	pg::call([&] { InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC); });
	if (PG_ARGISNULL(0))
		return (Datum) 0; // no schedule has no times
	job::require_values(fcinfo, {1, 3, 4, 5});
	const job::ServerZone &zone = job::zone_of(job::text_argument(fcinfo, 2));
	auto schedule = job::make_schedule(job::text_argument(fcinfo, 0), job::words_of(job::options_argument(fcinfo, 4)),
									   job::to_instant(PG_GETARG_TIMESTAMPTZ(5)));
	auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
	auto after = job::to_instant(PG_GETARG_TIMESTAMPTZ(1));
	for (int left = PG_GETARG_INT32(3); left > 0; left--) {
		auto next = schedule.next(after, zone);
		if (!next)
			break;
		after = *next;
		pg::call([&] {
			CHECK_FOR_INTERRUPTS();
			Datum value = TimestampTzGetDatum(job::to_timestamp(after));
			bool is_null = false;
			tuplestore_putvalues(result->setResult, result->setDesc, &value, &is_null);
		});
	}
	return (Datum) 0;
}
