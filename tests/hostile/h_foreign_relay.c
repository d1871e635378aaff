/* SPDX-License-Identifier: Apache-2.0 */
/* options: -o procns.signals=relay */
/* The same where the supervisor sends the signals, as on kernels before 6.12. */
#include "h_foreign.c"
