// control_stats - the control channel's command "stats": every number as Prometheus' text, for
// tidepool top.
#ifndef TIDEPOOL_SHIM_GLUE_CONTROL_STATS_H
#define TIDEPOOL_SHIM_GLUE_CONTROL_STATS_H

void stats_init(void);

#endif
