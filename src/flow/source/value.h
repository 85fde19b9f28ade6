// Values of any type as JSON, the way to_jsonb shows them.
//
// What is learnt of a type is kept in plain structs in a memory context, so that an ereport may pass anywhere here.
#pragma once
#include "pg/prelude.h"

#include "core/base/bytes.h"

namespace pgbraid::flow {

enum class Shape : unsigned char {
	boolean,
	int2,
	int4,
	int8,
	float4,
	float8,
	number,	   // any other number: by its output function
	text,	   // text, varchar, bpchar
	date_time, // date, timestamp, timestamptz
	json,
	jsonb,
	cast_to_json, // a type of an extension that has a cast to json, hstore say
	array,
	composite,
	other, // a string, by the output function
};

struct TypePlan {
	Shape shape;
	Oid type;		   // base type of a domain
	FmgrInfo function; // output function, or the cast
	TypePlan *element; // array, and of its elements:
	int16 length;
	bool by_value;
	char alignment;
};

// Allocates in the current memory context. Reads the catalog.
TypePlan *plan_type(Oid type);

// `value` must not be an unchanged TOAST pointer. Leaves garbage in the current memory context.
void append_value(core::Bytes &to, TypePlan *plan, Datum value);

// The value as its type's output function prints it, without quotes.
void append_plain(core::Bytes &to, FmgrInfo *output, const TypePlan *plan, Datum value);

// JSON is UTF-8: converts what was appended since `from` out of the database's encoding. In SQL_ASCII, which promises
// nothing, what is not UTF-8 becomes U+FFFD; or stays, for names that a subject will escape byte by byte.
enum class BadBytes { replace, keep };
void convert_to_utf8(core::Bytes &bytes, size_t from, BadBytes bad_bytes = BadBytes::replace);

} // namespace pgbraid::flow
