#include "pg/spi.h"

extern "C" {
#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
}

namespace pgbraid::pg::spi {

namespace {

constexpr int max_parameters = 10;

uint64 run(const char *sql, std::initializer_list<Parameter> parameters)
{
	return call([&] {
		Oid types[max_parameters];
		Datum values[max_parameters];
		char nulls[max_parameters];
		int count = 0;
		Assert(parameters.size() <= max_parameters);
		for (const Parameter &parameter : parameters) {
			types[count] = parameter.type;
			values[count] = parameter.value;
			nulls[count++] = parameter.is_null ? 'n' : ' ';
		}
		int result = SPI_execute_with_args(sql, count, types, values, nulls, false, 0);
		if (result < 0)
			elog(ERROR, "could not run \"%s\": %s", sql, SPI_result_code_string(result));
		return SPI_processed;
	});
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

bool Row::is_null(int column) const
{
	bool is_null;
	(void) datum(column, &is_null);
	return is_null;
}

uint64 each(const char *sql, std::initializer_list<Parameter> parameters, const std::function<void(const Row &)> &f)
{
	uint64 count = run(sql, parameters);
	SPITupleTable *table = SPI_tuptable;
	for (uint64 i = 0; i < count && table != nullptr; i++)
		f(Row(table->vals[i], table->tupdesc));
	return count;
}

uint64 execute(const char *sql, std::initializer_list<Parameter> parameters)
{
	return run(sql, parameters);
}

} // namespace pgbraid::pg::spi
