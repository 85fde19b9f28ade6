#include "pg/spi.h"

extern "C" {
#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"
}

namespace pgbraid::pg::spi {

namespace {

constexpr int max_parameters = 20;

// As SPI wants them.
struct Arguments {
	Oid types[max_parameters];
	Datum values[max_parameters];
	char nulls[max_parameters];
	int count = 0;

	explicit Arguments(std::initializer_list<Parameter> parameters)
	{
		Assert(parameters.size() <= max_parameters);
		for (const Parameter &parameter : parameters) {
			types[count] = parameter.type;
			values[count] = parameter.value;
			nulls[count++] = parameter.is_null ? 'n' : ' ';
		}
	}
};

uint64 checked(int result, const char *sql)
{
	if (result < 0)
		elog(ERROR, "could not run \"%s\": %s", sql, SPI_result_code_string(result));
	return SPI_processed;
}

uint64 run(const char *sql, std::initializer_list<Parameter> parameters)
{
	return call([&] {
		Arguments given(parameters);
		return checked(SPI_execute_with_args(sql, given.count, given.types, given.values, given.nulls, false, 0), sql);
	});
}

void hand_over(uint64 count, const std::function<void(const Row &)> &f)
{
	SPITupleTable *table = SPI_tuptable;
	for (uint64 i = 0; i < count && table != nullptr; i++)
		f(Row(table->vals[i], table->tupdesc));
}

template <typename T, typename F>
Parameter array(std::span<const T> values, Oid element, int length, bool by_value, char alignment, Oid type,
				F &&to_datum)
{
	return {type, call([&] {
				auto *elements = static_cast<Datum *>(palloc(Max(values.size(), 1) * sizeof(Datum)));
				for (size_t i = 0; i < values.size(); i++)
					elements[i] = to_datum(values[i]);
				return PointerGetDatum(
					construct_array(elements, (int) values.size(), element, length, by_value, alignment));
			})};
}

} // namespace

Parameter text(std::string_view value)
{
	return {TEXTOID, call([&] { return PointerGetDatum(cstring_to_text_with_len(value.data(), (int) value.size())); })};
}

Parameter bytea(std::string_view value)
{
	return {BYTEAOID, text(value).value}; // the same bytes within
}

Parameter bigint(int64 value)
{
	return {INT8OID, Int64GetDatum(value)};
}

Parameter oid(Oid value)
{
	return {OIDOID, ObjectIdGetDatum(value)};
}

Parameter boolean(bool value)
{
	return {BOOLOID, BoolGetDatum(value)};
}

Parameter lsn(XLogRecPtr value)
{
	return {PG_LSNOID, LSNGetDatum(value)};
}

Parameter timestamp(TimestampTz value)
{
	return {TIMESTAMPTZOID, TimestampTzGetDatum(value)};
}

Parameter uuid(const pg_uuid_t &value)
{
	return {UUIDOID, UUIDPGetDatum(&value)};
}

Parameter bigints(std::span<const int64> values)
{
	return array(values, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, INT8ARRAYOID,
				 [](int64 value) { return Int64GetDatum(value); });
}

Parameter timestamps(std::span<const TimestampTz> values)
{
	return array(values, TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, TIMESTAMPTZARRAYOID,
				 [](TimestampTz value) { return TimestampTzGetDatum(value); });
}

Parameter texts(std::span<const char *const> values)
{
	return array(values, TEXTOID, -1, false, TYPALIGN_INT, TEXTARRAYOID,
				 [](const char *value) { return CStringGetTextDatum(value); });
}

Parameter null(Oid type)
{
	return {type, 0, true};
}

Datum Row::datum(int column, bool *is_null) const
{
	return call([&] { return SPI_getbinval(tuple_, description_, column, is_null); });
}

std::string Row::text(int column) const
{
	const char *value = call([&] { return SPI_getvalue(tuple_, description_, column); });
	return value ? value : "";
}

int64 Row::bigint(int column) const
{
	bool is_null;
	Datum value = datum(column, &is_null);
	return is_null ? 0 : DatumGetInt64(value);
}

Oid Row::oid(int column) const
{
	bool is_null;
	Datum value = datum(column, &is_null);
	return is_null ? InvalidOid : DatumGetObjectId(value);
}

bool Row::boolean(int column) const
{
	bool is_null;
	Datum value = datum(column, &is_null);
	return !is_null && DatumGetBool(value);
}

XLogRecPtr Row::lsn(int column) const
{
	bool is_null;
	Datum value = datum(column, &is_null);
	return is_null ? 0 : DatumGetLSN(value);
}

TimestampTz Row::timestamp(int column) const
{
	bool is_null;
	Datum value = datum(column, &is_null);
	return is_null ? 0 : DatumGetTimestampTz(value);
}

pg_uuid_t Row::uuid(int column) const
{
	bool is_null;
	Datum value = datum(column, &is_null);
	return is_null ? pg_uuid_t{} : *DatumGetUUIDP(value);
}

int Row::integer(int column) const
{
	bool is_null;
	Datum value = datum(column, &is_null);
	return is_null ? 0 : DatumGetInt32(value);
}

bool Row::is_null(int column) const
{
	bool is_null;
	(void) datum(column, &is_null);
	return is_null;
}

uint64 each(const char *sql, std::initializer_list<Parameter> parameters, const std::function<void(const Row &)> &f)
{
	uint64 count = run(sql, parameters);
	hand_over(count, f);
	return count;
}

uint64 execute(const char *sql, std::initializer_list<Parameter> parameters)
{
	return run(sql, parameters);
}

namespace {

// A plan is kept, and the tables that it is for may grow from nothing to millions of rows before anybody analyses them:
// the way by the indexes is right for both. Compiling it is never worth it. For AtEOXact_GUC.
int begin_planning_by_indexes(Statement::Scan scan)
{
	auto turn_off = [](const char *name) {
		(void) set_config_option(name, "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	};
	int level = NewGUCNestLevel();
	for (const char *name : {"enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit"})
		turn_off(name);
	if (scan == Statement::Scan::plain)
		turn_off("enable_bitmapscan");
	return level;
}

} // namespace

uint64 Statement::execute(std::initializer_list<Parameter> parameters)
{
	return call([&] {
		Arguments given(parameters);
		int level = plan_ != nullptr && SPI_plan_is_valid(plan_) ? 0 : begin_planning_by_indexes(scan_);
		if (plan_ == nullptr) {
			SPIPlanPtr plan = SPI_prepare_cursor(sql_, given.count, given.types, CURSOR_OPT_GENERIC_PLAN);
			if (plan == nullptr || SPI_keepplan(plan) != 0)
				elog(ERROR, "could not prepare \"%s\": %s", sql_, SPI_result_code_string(SPI_result));
			plan_ = plan;
		}
		uint64 count = checked(SPI_execute_plan(plan_, given.values, given.nulls, false, 0), sql_);
		if (level > 0)
			AtEOXact_GUC(true, level);
		return count;
	});
}

uint64 Statement::each(std::initializer_list<Parameter> parameters, const std::function<void(const Row &)> &f)
{
	uint64 count = execute(parameters);
	hand_over(count, f);
	return count;
}

} // namespace pgbraid::pg::spi
