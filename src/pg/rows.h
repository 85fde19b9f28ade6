// Rows that a function written in C gives back.
#pragma once
#include "pg/prelude.h"

extern "C" {
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
}

namespace pgbraid::pg {

// One row, column by column. Raises PostgreSQL's errors: to be used within pg::call.
class RowWriter {
public:
	void add(Datum value, bool is_null = false)
	{
		values_[count_] = value;
		nulls_[count_++] = is_null;
	}
	void text(const char *value) { add(value[0] ? CStringGetTextDatum(value) : (Datum) 0, value[0] == '\0'); }
	void time(TimestampTz value) { add(TimestampTzGetDatum(value), value == 0); }
	void lsn(XLogRecPtr value) { add(LSNGetDatum(value), value == 0); }
	void number(int64 value) { add(Int64GetDatum(value)); }
	void integer(int32 value, bool is_null = false) { add(Int32GetDatum(value), is_null); }
	void store(const ReturnSetInfo *result)
	{
		tuplestore_putvalues(result->setResult, result->setDesc, values_, nulls_);
	}

private:
	static constexpr int most = 32;
	Datum values_[most];
	bool nulls_[most];
	int count_ = 0;
};

} // namespace pgbraid::pg
