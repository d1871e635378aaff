/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BVISOR_LOG_H
#define BVISOR_LOG_H
/* Log levels; the topic is the module's name.  `bvisor -v`, `[core] log = debug`. */
enum bv_log_level { BV_LOG_ERROR = 0, BV_LOG_WARN = 1, BV_LOG_INFO = 2, BV_LOG_DEBUG = 3 };
#endif
