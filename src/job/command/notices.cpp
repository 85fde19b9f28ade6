#include "job/command/notices.h"

#include "pg/boundary.h"

extern "C" {
#include "mb/pg_wchar.h"
#include "utils/guc.h"
}

namespace pgbraid::job {

namespace {

emit_log_hook_type next_hook = nullptr;
bool is_installed = false, is_listening = false;
std::string *lines = nullptr;

void keep(const ErrorData *error) noexcept
{
	try {
		if (lines->size() < longest_text)
			lines->append(error_severity(error->elevel))
				.append(": ")
				.append(error->message ? error->message : "")
				.append("\n");
	} catch (const std::bad_alloc &) {
		is_listening = false; // the rest is not kept
	}
}

void at_message(ErrorData *error)
{
	if (is_listening && error->elevel < ERROR && error->elevel >= INFO) {
		keep(error);
		error->output_to_server = error->elevel >= WARNING;
	}
	if (next_hook)
		next_hook(error);
}

} // namespace

void start_listening()
{
	if (!is_installed) {
		lines = new std::string;
		next_hook = emit_log_hook;
		emit_log_hook = at_message;
		is_installed = true;
	}
	lines->clear();
	is_listening = true;
	// What goes to no log does not come to the hook either.
	pg::call([] {
		(void) set_config_option("log_min_messages", "info", PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0,
								 false);
	});
}

std::string stop_listening()
{
	is_listening = false;
	return clip(std::move(*lines));
}

std::string clip(std::string text)
{
	if (text.size() > longest_text)
		text.resize((size_t) pg_mbcliplen(text.data(), (int) text.size(), (int) longest_text));
	return text;
}

} // namespace pgbraid::job
