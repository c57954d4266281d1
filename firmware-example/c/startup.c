/* Start-up of a Cortex-M4F: switches the floating-point unit on, fills RAM, calls main; standard output and exit go through semihosting. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CPACR (*(volatile uint32_t *)0xE000ED88u)

/* From firmware.ld; only their addresses mean something. */
extern unsigned char stack_top[], data_start[], data_end[], data_in_flash[], bss_start[], bss_end[];
extern void initialise_monitor_handles(void);
extern void _exit(int);
extern int main(void);

void reset(void);

void reset(void)
{
    CPACR |= 0xFu << 20;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    memcpy(data_start, data_in_flash, (size_t)(data_end - data_start));
    memset(bss_start, 0, (size_t)(bss_end - bss_start));
    initialise_monitor_handles();
    exit(main());
}

static void fault(void)
{
    _exit(1);
}

__attribute__((section(".vectors"), used))
static const struct {
    unsigned char *stack;
    void (*handlers[15])(void);
} vectors = { stack_top, { reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, fault } };
