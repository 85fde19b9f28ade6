#include "job/command/statements.h"

#include "job/command/notices.h"
#include "pg/boundary.h"

extern "C" {
#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "mb/pg_wchar.h"
#include "nodes/params.h"
#include "parser/parse_param.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
}

namespace pgbraid::job {

namespace {

constexpr int parameter_count = 3;
const Oid parameter_types[parameter_count] = {JSONBOID, INT4OID, TIMESTAMPTZOID};

// Keeps the first value and lets all others go by, so that a result of any size costs nothing.
struct Capture {
	DestReceiver receiver; // first: PostgreSQL knows us by it
	MemoryContext context;
	char *value;
	bool has_row;
};

void at_start(DestReceiver *self, int, TupleDesc)
{
	auto *capture = reinterpret_cast<Capture *>(self);
	capture->has_row = false;
	capture->value = nullptr;
}

bool at_row(TupleTableSlot *slot, DestReceiver *self)
{
	auto *capture = reinterpret_cast<Capture *>(self);
	if (capture->has_row || slot->tts_tupleDescriptor->natts == 0)
		return true;
	capture->has_row = true;
	bool is_null;
	Datum value = slot_getattr(slot, 1, &is_null);
	if (is_null)
		return true;
	Oid output;
	bool is_varlena;
	getTypeOutputInfo(TupleDescAttr(slot->tts_tupleDescriptor, 0)->atttypid, &output, &is_varlena);
	MemoryContext caller = MemoryContextSwitchTo(capture->context);
	char *text = OidOutputFunctionCall(output, value);
	int length = (int) strlen(text);
	text[pg_mbcliplen(text, length, (int) Min((size_t) length, longest_text))] = '\0';
	capture->value = text;
	MemoryContextSwitchTo(caller);
	return true;
}

void at_end(DestReceiver *)
{
}

void set_up_parser(ParseState *state, void *)
{
	setup_parse_fixed_parameters(state, parameter_types, parameter_count);
}

ParamListInfo parameter_list(const Parameters &given)
{
	ParamListInfo list = makeParamList(parameter_count);
	list->parserSetup = set_up_parser;
	for (int i = 0; i < parameter_count; i++) {
		list->params[i].ptype = parameter_types[i];
		list->params[i].pflags = PARAM_FLAG_CONST;
		list->params[i].isnull = false;
	}
	list->params[0].isnull = !given.payload;
	if (given.payload)
		list->params[0].value = DirectFunctionCall1(jsonb_in, CStringGetDatum(given.payload->c_str()));
	list->params[1].value = Int32GetDatum(given.attempt);
	list->params[2].value = TimestampTzGetDatum(given.due_at);
	return list;
}

void refuse(int result)
{
	const char *hint =
		"Let it run without a transaction around it: pgjob_alter(job, options => '{\"transaction\": false}').";
	if (result == SPI_ERROR_TRANSACTION)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
						errmsg("a job's command can't begin or end transactions"), errhint("%s", hint)));
	if (result == SPI_ERROR_COPY)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("a job has no client to copy to or from"),
						errhint("COPY to or from a file or a program.")));
	if (result < 0)
		elog(ERROR, "could not run the command: %s", SPI_result_code_string(result));
}

// What a commit would leave until the transaction is no longer the command's: it would run as somebody else.
void finish_deferred()
{
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		refuse(SPI_execute("SET CONSTRAINTS ALL IMMEDIATE", false, 0));
}

} // namespace

CommandResult run_statements(const std::string &sql, const Parameters &parameters)
{
	Capture capture{{at_row, at_start, at_end, at_end, DestNone}, CurrentMemoryContext, nullptr, false};
	uint64 rows = pg::call([&] {
		SPIExecuteOptions options{};
		SPI_connect();
		options.params = parameter_list(parameters);
		options.dest = &capture.receiver;
		refuse(SPI_execute_extended(sql.c_str(), &options));
		uint64 processed = SPI_processed;
		finish_deferred();
		SPI_finish();
		return processed;
	});
	return {(int64) rows, capture.value ? std::optional<std::string>(capture.value) : std::nullopt};
}

} // namespace pgbraid::job
