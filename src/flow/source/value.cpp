#include "flow/source/value.h"

#include "core/flow/json.h"

extern "C" {
#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_language_d.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type_d.h"
#include "common/shortest_dec.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
}

#include <cmath>

namespace pgbraid::flow {

namespace {

using core::Bytes;

// A cast that is not C could run SQL, for which there is no snapshot while decoding.
bool is_c_function(Oid function)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return false;
	Oid language = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple))->prolang;
	ReleaseSysCache(tuple);
	return language == ClanguageId || language == INTERNALlanguageId;
}

// As jsonb.c does: a cast to json (not jsonb) of a type that is not built in.
Oid cast_to_json(Oid type)
{
	Oid function = InvalidOid;
	if (type < FirstNormalObjectId ||
		find_coercion_pathway(JSONOID, type, COERCION_EXPLICIT, &function) != COERCION_PATH_FUNC)
		return InvalidOid;
	return OidIsValid(function) && is_c_function(function) ? function : InvalidOid;
}

Shape shape_of(Oid type)
{
	switch (type) {
		case BOOLOID: return Shape::boolean;
		case INT2OID: return Shape::int2;
		case INT4OID: return Shape::int4;
		case INT8OID: return Shape::int8;
		case FLOAT4OID: return Shape::float4;
		case FLOAT8OID: return Shape::float8;
		case NUMERICOID: return Shape::number;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID: return Shape::text;
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID: return Shape::date_time;
		case JSONOID: return Shape::json;
		case JSONBOID: return Shape::jsonb;
		default: break;
	}
	if (OidIsValid(get_element_type(type)))
		return Shape::array;
	if (type_is_rowtype(type))
		return Shape::composite;
	return OidIsValid(cast_to_json(type)) ? Shape::cast_to_json : Shape::other;
}

void append_float(Bytes &to, double value, char *text, int size)
{
	if (std::isnan(value))
		to.append("\"NaN\"");
	else if (std::isinf(value))
		to.append(value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
	else if (value != 0 && memchr(text, 'e', (size_t) size) == nullptr)
		to.append({text, (size_t) size}); // as JSON has it
	else
		core::append_json_number(to, {text, (size_t) size});
}

void append_float8(Bytes &to, double value)
{
	char text[DOUBLE_SHORTEST_DECIMAL_LEN];
	int size = std::isfinite(value) ? double_to_shortest_decimal_bufn(value, text) : 0;
	append_float(to, value, text, size);
}

void append_float4(Bytes &to, float value)
{
	char text[FLOAT_SHORTEST_DECIMAL_LEN];
	int size = std::isfinite(value) ? float_to_shortest_decimal_bufn(value, text) : 0;
	append_float(to, value, text, size);
}

std::string_view text_of(Datum value)
{
	auto *text = PG_DETOAST_DATUM_PACKED(value);
	return {VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text)};
}

// The time zone of a worker is UTC.
bool append_common_date_time(Bytes &to, Oid type, Datum value)
{
	if (type == DATEOID)
		return core::append_iso_date(to, DatumGetDateADT(value));
	if (type == TIMESTAMPOID)
		return core::append_iso_timestamp(to, DatumGetTimestamp(value));
	if (strcmp(pg_get_timezone_name(session_timezone), "UTC") != 0 ||
		!core::append_iso_timestamp(to, DatumGetTimestampTz(value)))
		return false;
	to.append("+00:00");
	return true;
}

void append_date_time(Bytes &to, Oid type, Datum value)
{
	size_t start = to.size();
	to.append('"');
	if (append_common_date_time(to, type, value))
		return to.append('"');
	to.truncate(start);
	char text[MAXDATELEN + 1];
	JsonEncodeDateTime(text, value, type, nullptr);
	to.append('"');
	to.append(text);
	to.append('"');
}

void append_jsonb(Bytes &to, Datum value)
{
	Jsonb *jsonb = DatumGetJsonbP(value);
	to.append(JsonbToCString(nullptr, &jsonb->root, VARSIZE(jsonb)));
}

// One dimension of an array; `next` walks over all its elements.
void append_dimension(Bytes &to, TypePlan *element, int dimensions, const int *lengths, const Datum *values,
					  const bool *nulls, int *next)
{
	to.append('[');
	for (int i = 0; i < lengths[0]; i++) {
		if (i > 0)
			to.append(',');
		if (dimensions > 1)
			append_dimension(to, element, dimensions - 1, lengths + 1, values, nulls, next);
		else if (nulls[*next])
			to.append("null"), (*next)++;
		else
			append_value(to, element, values[(*next)++]);
	}
	to.append(']');
}

void append_array(Bytes &to, TypePlan *plan, Datum value)
{
	check_stack_depth();
	ArrayType *array = DatumGetArrayTypeP(value);
	int dimensions = ARR_NDIM(array);
	if (ArrayGetNItems(dimensions, ARR_DIMS(array)) <= 0) {
		to.append("[]");
		return;
	}
	Datum *values;
	bool *nulls;
	int count, next = 0;
	deconstruct_array(array, ARR_ELEMTYPE(array), plan->length, plan->by_value, plan->alignment, &values, &nulls,
					  &count);
	append_dimension(to, plan->element, dimensions, ARR_DIMS(array), values, nulls, &next);
}

// The descriptor is looked up for each value: a composite type can change its columns at any time.
void append_composite(Bytes &to, Datum value)
{
	check_stack_depth();
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	TupleDesc columns = lookup_rowtype_tupdesc_copy(HeapTupleHeaderGetTypeId(header), HeapTupleHeaderGetTypMod(header));
	HeapTupleData tuple;
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_data = header;
	bool first = true;
	to.append('{');
	for (int i = 0; i < columns->natts; i++) {
		Form_pg_attribute attribute = TupleDescAttr(columns, i);
		if (attribute->attisdropped)
			continue;
		if (!first)
			to.append(',');
		first = false;
		core::append_json_string(to, NameStr(attribute->attname));
		to.append(':');
		bool is_null;
		Datum field = heap_getattr(&tuple, i + 1, columns, &is_null);
		if (is_null)
			to.append("null");
		else
			append_value(to, plan_type(attribute->atttypid), field);
	}
	to.append('}');
}

} // namespace

TypePlan *plan_type(Oid type)
{
	check_stack_depth();
	auto *plan = static_cast<TypePlan *>(palloc0(sizeof(TypePlan)));
	plan->type = getBaseType(type);
	plan->shape = shape_of(plan->type);
	if (plan->shape == Shape::array) {
		Oid element = get_element_type(plan->type);
		plan->element = plan_type(element);
		get_typlenbyvalalign(element, &plan->length, &plan->by_value, &plan->alignment);
	} else if (plan->shape == Shape::cast_to_json) {
		fmgr_info(cast_to_json(plan->type), &plan->function);
	} else if (plan->shape != Shape::composite) {
		Oid function;
		bool is_varlena;
		getTypeOutputInfo(plan->type, &function, &is_varlena);
		fmgr_info(function, &plan->function);
	}
	return plan;
}

void append_value(Bytes &to, TypePlan *plan, Datum value)
{
	switch (plan->shape) {
		case Shape::boolean: return to.append(DatumGetBool(value) ? "true" : "false");
		case Shape::int2: return core::append_json_integer(to, DatumGetInt16(value));
		case Shape::int4: return core::append_json_integer(to, DatumGetInt32(value));
		case Shape::int8: return core::append_json_integer(to, DatumGetInt64(value));
		case Shape::float4: return append_float4(to, DatumGetFloat4(value));
		case Shape::float8: return append_float8(to, DatumGetFloat8(value));
		case Shape::number: return core::append_json_number(to, OutputFunctionCall(&plan->function, value));
		case Shape::text: return core::append_json_string(to, text_of(value));
		case Shape::date_time: return append_date_time(to, plan->type, value);
		case Shape::json: return core::append_json_verbatim(to, text_of(value));
		case Shape::jsonb: return append_jsonb(to, value);
		case Shape::cast_to_json: return core::append_json_verbatim(to, text_of(FunctionCall1(&plan->function, value)));
		case Shape::array: return append_array(to, plan, value);
		case Shape::composite: return append_composite(to, value);
		case Shape::other: return core::append_json_string(to, OutputFunctionCall(&plan->function, value));
	}
}

void append_plain(Bytes &to, FmgrInfo *output, const TypePlan *plan, Datum value)
{
	if (plan->shape == Shape::text)
		to.append(text_of(value));
	else
		to.append(OutputFunctionCall(output, value));
}

// JSON's own characters are ASCII, which every server encoding includes: so a whole document converts as one string.
void convert_to_utf8(Bytes &bytes, size_t from, BadBytes bad_bytes)
{
	int encoding = GetDatabaseEncoding();
	if (encoding == PG_UTF8 || bytes.size() == from)
		return;
	if (encoding == PG_SQL_ASCII) {
		if (bad_bytes == BadBytes::replace)
			core::repair_utf8(bytes, from);
		return;
	}
	std::string_view text = bytes.view(from);
	const char *converted = pg_server_to_any(text.data(), (int) text.size(), PG_UTF8);
	if (converted == text.data())
		return;
	std::size_t size = strlen(converted); // JSON has no zero byte, and names have none either
	bytes.truncate(from);
	bytes.append({converted, size});
}

} // namespace pgbraid::flow
