package com.rabbitmq.perf;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.LongAdder;
import org.HdrHistogram.Histogram;
import org.HdrHistogram.HistogramIterationValue;
import org.HdrHistogram.Recorder;

/** Messages of one kind (publish, confirm, consume) in a step, and their times. Any thread may add. */
final class Operation {

  /** Significant decimal digits of a time. */
  private static final int DIGITS = 3;

  private final String name;
  private final String step;
  private final Rows rows;
  private final Recorder recorder = new Recorder(DIGITS);
  private final LongAdder bytes = new LongAdder();
  private final LongAdder failed = new LongAdder();
  private final LongAdder messages = new LongAdder();
  private final AtomicBoolean hasBegun = new AtomicBoolean();
  /** The end of the latest message in microseconds since 1970. */
  private volatile long latest;

  private Histogram interval;
  /** The end of the interval before, in microseconds since 1970. */
  private volatile long flushed;

  Operation(String name, String step, Rows rows) {
    this.name = name;
    this.step = step;
    this.rows = rows;
  }

  /**
   * Adds a message that ended now.
   *
   * @param elapsed its time in microseconds; negative times, between nodes with different clocks, count as zero
   * @param size of its body in bytes
   */
  void add(long elapsed, long size) {
    long micros = Math.max(0, elapsed);
    messages.increment();
    latest = Clock.micros();
    if (!hasBegun.get() && hasBegun.compareAndSet(false, true)) {
      // The first message gets a row of its own, so that the start of the step is exact.
      flushed = latest;
      rows.add(latest, name, step, micros, 1, 0, size);
      return;
    }
    bytes.add(size);
    recorder.recordValue(micros);
  }

  /** Marks messages that were added before as failed. */
  void fail(int count) {
    failed.add(count);
  }

  /** Adds a message that has failed. */
  void addFailed(long elapsed) {
    messages.increment();
    latest = Clock.micros();
    hasBegun.set(true);
    rows.add(latest, name, step, Math.max(0, elapsed), 1, 1, 0);
  }

  long messages() {
    return messages.sum();
  }

  String name() {
    return name;
  }

  /** Writes a row for each different time since the last call. The rows are spread evenly over the interval. */
  synchronized void flush() {
    interval = recorder.getIntervalHistogram(interval);
    List<long[]> times = new ArrayList<>();
    for (HistogramIterationValue value : interval.recordedValues()) {
      long micros = interval.medianEquivalentValue(value.getValueIteratedTo());
      times.add(new long[] {micros, value.getCountAddedInThisIterationStep()});
    }
    write(times, latest);
    long newlyFailed = failed.sumThenReset();
    if (newlyFailed > 0) {
      rows.add(Clock.micros(), name, step, 0, 0, newlyFailed, 0);
    }
  }

  private void write(List<long[]> times, long end) {
    long length = Math.max(0, end - flushed);
    for (int i = 0; i < times.size(); i++) {
      long at = flushed + length * (i + 1) / times.size();
      long size = i == 0 ? bytes.sumThenReset() : 0;
      rows.add(at, name, step, times.get(i)[0], times.get(i)[1], 0, size);
    }
    flushed = flushed + length;
  }
}
