#include "job/command/parameters.h"

extern "C" {
#include "parser/parse_param.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"
}

namespace pgbraid::job {

namespace {

void set_up_parser(ParseState *state, void *)
{
	setup_parse_fixed_parameters(state, parameter_types, parameter_count);
}

} // namespace

ParamListInfo parameter_list(const Parameters &given)
{
	ParamListInfo list = makeParamList(parameter_count);
	list->parserSetup = set_up_parser;
	for (int i = 0; i < parameter_count; i++) {
		list->params[i].ptype = parameter_types[i];
		list->params[i].pflags = PARAM_FLAG_CONST;
		list->params[i].isnull = false;
	}
	list->params[0].isnull = given.payload == nullptr;
	if (given.payload != nullptr)
		list->params[0].value = DirectFunctionCall1(jsonb_in, CStringGetDatum(given.payload));
	list->params[1].value = Int32GetDatum(given.attempt);
	list->params[2].value = TimestampTzGetDatum(given.due_at);
	return list;
}

} // namespace pgbraid::job
