// Typed parameters in, typed rows out. Needs an open pg::in_transaction, or any SPI connection.
#pragma once
#include "pg/boundary.h"

extern "C" {
#include "access/htup.h"
#include "access/tupdesc.h"
#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "utils/uuid.h"
}

#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

struct _SPI_plan;

namespace pgbraid::pg::spi {

struct Parameter {
	Oid type;
	Datum value;
	bool is_null = false;
};
Parameter text(std::string_view value);
Parameter bytea(std::string_view value);
Parameter bigint(int64 value);
Parameter oid(Oid value);
Parameter boolean(bool value);
Parameter lsn(XLogRecPtr value);
Parameter timestamp(TimestampTz value);
Parameter uuid(const pg_uuid_t &value); // which must outlive it
Parameter null(Oid type);
Parameter bigints(std::span<const int64> values);
Parameter timestamps(std::span<const TimestampTz> values);
Parameter texts(std::span<const char *const> values); // "" is an empty text

// One row of a result; columns count from 1, as SPI does. Valid until the next query.
class Row {
public:
	Row(HeapTuple tuple, TupleDesc description) noexcept : tuple_(tuple), description_(description) {}
	std::string text(int column) const; // by the type's output function; "" for null
	int64 bigint(int column) const;
	Oid oid(int column) const;
	bool boolean(int column) const;
	XLogRecPtr lsn(int column) const;		 // 0 for null
	TimestampTz timestamp(int column) const; // 0 for null
	pg_uuid_t uuid(int column) const;
	int integer(int column) const;
	bool is_null(int column) const;

private:
	Datum datum(int column, bool *is_null) const;
	HeapTuple tuple_;
	TupleDesc description_;
};

// Runs the statement, hands each row to f, and returns how many rows there were (or were changed).
uint64 each(const char *sql, std::initializer_list<Parameter> parameters, const std::function<void(const Row &)> &f);
uint64 execute(const char *sql, std::initializer_list<Parameter> parameters = {});

// One that is run often: parsed once for the life of the process. Always with parameters of the same types. A static
// object, which must not need a destructor.
class Statement {
public:
	// A plain scan of an index marks the entries of rows that are gone, so that it passes over each of them once; one
	// that makes a bitmap goes through all of them each time, until the table is vacuumed. Where rows come and go all
	// the time and few are there, or one of many is enough, that counts; where conditions of two indexes meet, a bitmap
	// does.
	enum class Scan { any, plain };
	constexpr explicit Statement(const char *sql, Scan scan = Scan::any) noexcept : sql_(sql), scan_(scan) {}
	Statement(const Statement &) = delete;
	Statement &operator=(const Statement &) = delete;

	uint64 each(std::initializer_list<Parameter> parameters, const std::function<void(const Row &)> &f);
	uint64 execute(std::initializer_list<Parameter> parameters = {});

private:
	const char *sql_;
	Scan scan_;
	::_SPI_plan *plan_ = nullptr;
};

} // namespace pgbraid::pg::spi
