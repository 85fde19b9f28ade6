// One stream of a NATS server, for measurements: stream URL drop NAME | await NAME COUNT | dump NAME COUNT FILE
//
// await prints "ready", then the time (CLOCK_REALTIME, seconds) at which the stream held its first message, a tenth of
// COUNT and COUNT, each on a line of its own. dump writes the first COUNT messages, see message_file.h.
#include "message_file.h"

#include <nats/nats.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void check(natsStatus status, const char *what)
{
	if (status == NATS_OK)
		return;
	fprintf(stderr, "stream: %s: %s\n", what, natsStatus_GetText(status));
	exit(1);
}

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_REALTIME, &time);
	return (double) time.tv_sec + (double) time.tv_nsec * 1e-9;
}

static uint64_t messages_in(jsCtx *context, const char *name)
{
	jsStreamInfo *info = NULL;
	jsErrCode code;
	if (js_GetStreamInfo(&info, context, name, NULL, &code) != NATS_OK)
		return 0;
	uint64_t messages = info->State.Msgs;
	jsStreamInfo_Destroy(info);
	return messages;
}

static void await_count(jsCtx *context, const char *name, uint64_t count)
{
	uint64_t marks[] = {1, count / 10 > 0 ? count / 10 : 1, count};
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	for (int i = 0; i < 3;) {
		uint64_t messages = messages_in(context, name);
		double time = now();
		for (; i < 3 && messages >= marks[i]; i++)
			printf("%.6f\n", time);
		if (i < 3)
			usleep(5000);
	}
}

static void append_headers(char **to, natsMsg *message)
{
	const char **keys = NULL;
	int count = 0;
	size_t size;
	FILE *text = open_memstream(to, &size);
	if (natsMsgHeader_Keys(message, &keys, &count) == NATS_OK) {
		for (int i = 0; i < count; i++) {
			const char *value = "";
			natsMsgHeader_Get(message, keys[i], &value);
			fprintf(text, "%s%c%s%c", keys[i], 0, value, 0);
		}
	}
	fclose(text);
	free((void *) keys);
}

static void dump(jsCtx *context, const char *name, uint64_t count, const char *path)
{
	natsSubscription *subscription = NULL;
	jsSubOptions options;
	jsErrCode code;
	jsSubOptions_Init(&options);
	options.Stream = name;
	options.Ordered = true;
	check(js_SubscribeSync(&subscription, context, ">", NULL, &options, &code), "subscribe");
	check(natsSubscription_SetPendingLimits(subscription, -1, -1), "limits");
	FILE *file = fopen(path, "w");
	if (file == NULL) {
		perror(path);
		exit(1);
	}
	for (uint64_t i = 0; i < count; i++) {
		natsMsg *message = NULL;
		char *headers = NULL;
		check(natsSubscription_NextMsg(&message, subscription, 30000), "read");
		append_headers(&headers, message);
		write_message(file, natsMsg_GetSubject(message), headers, natsMsg_GetData(message),
					  (size_t) natsMsg_GetDataLength(message));
		free(headers);
		natsMsg_Destroy(message);
	}
	if (fclose(file) != 0) {
		perror(path);
		exit(1);
	}
	natsSubscription_Destroy(subscription);
}

int main(int argc, char **argv)
{
	natsConnection *connection = NULL;
	jsCtx *context = NULL;
	jsErrCode code;
	if (argc < 4)
		return 2;
	check(natsConnection_ConnectTo(&connection, argv[1]), "connect");
	check(natsConnection_JetStream(&context, connection, NULL), "JetStream");
	if (strcmp(argv[2], "drop") == 0)
		js_DeleteStream(context, argv[3], NULL, &code);
	else if (strcmp(argv[2], "await") == 0 && argc == 5)
		await_count(context, argv[3], strtoull(argv[4], NULL, 10));
	else if (strcmp(argv[2], "dump") == 0 && argc == 6)
		dump(context, argv[3], strtoull(argv[4], NULL, 10), argv[5]);
	else
		return 2;
	jsCtx_Destroy(context);
	natsConnection_Destroy(connection);
	nats_Close();
	return 0;
}
