// Typed parameters in, typed rows out. Needs an open pg::in_transaction, or any SPI connection.
#pragma once
#include "pg/boundary.h"

extern "C" {
#include "access/htup.h"
#include "access/tupdesc.h"
#include "access/xlogdefs.h"
}

#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

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
Parameter null(Oid type);

// One row of a result; columns count from 1, as SPI does. Valid until the next query.
class Row {
public:
	Row(HeapTuple tuple, TupleDesc description) noexcept : tuple_(tuple), description_(description) {}
	std::string text(int column) const; // by the type's output function; "" for null
	int64 bigint(int column) const;
	Oid oid(int column) const;
	bool boolean(int column) const;
	XLogRecPtr lsn(int column) const; // 0 for null
	bool is_null(int column) const;

private:
	Datum datum(int column, bool *is_null) const;
	HeapTuple tuple_;
	TupleDesc description_;
};

// Runs the statement, hands each row to f, and returns how many rows there were (or were changed).
uint64 each(const char *sql, std::initializer_list<Parameter> parameters, const std::function<void(const Row &)> &f);
uint64 execute(const char *sql, std::initializer_list<Parameter> parameters = {});

} // namespace pgbraid::pg::spi
