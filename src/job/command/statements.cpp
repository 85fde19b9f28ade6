#include "job/command/statements.h"

#include "job/command/capture.h"
#include "pg/boundary.h"

extern "C" {
#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/spi.h"
}

namespace pgbraid::job {

namespace {

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

// What is put off until the commit would run when the transaction is no longer the command's. Triggers that put things off
// again are of no use: this goes on until nothing is left.
void finish_deferred()
{
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		AfterTriggerFireDeferred();
}

} // namespace

CommandResult run_statements(const std::string &sql, const Parameters &parameters)
{
	Capture capture = make_capture(CurrentMemoryContext);
	uint64 rows = pg::call([&] {
		SPIExecuteOptions options{};
		SPI_connect();
		options.params = parameter_list(parameters);
		options.dest = &capture.receiver;
		refuse(SPI_execute_extended(sql.c_str(), &options));
		uint64 processed = SPI_processed;
		SPI_finish();
		finish_deferred();
		return processed;
	});
	return {(int64) rows, capture.value ? std::optional<std::string>(capture.value) : std::nullopt};
}

} // namespace pgbraid::job
