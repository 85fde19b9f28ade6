// What a flow publishes besides rows: logical messages, the begin and commit of transactions, the schemas of tables.
#pragma once
#include "core/flow/event.h"

namespace pgbraid::core {

// The frame of an event: from the opening brace up to `rest`; the caller adds what follows and the closing brace.
// `subject` is what comes right after op: `"prefix":"p"` or `"schema":"s","table":"t"`; empty for none.
void append_announcement_head(Bytes &to, std::string_view op, std::string_view subject, std::string_view lsn,
							  std::uint64_t seq, std::string_view rest);

// {"op":"begin","lsn":"0/1A2B3C4D","seq":0,"xid":745,"ts":"...Z"}
void append_begin(Bytes &to, const TransactionFrame &transaction);

// {"op":"commit", ... ,"events":3}
void append_commit(Bytes &to, const TransactionFrame &transaction, std::uint64_t seq, std::uint64_t events);

} // namespace pgbraid::core
