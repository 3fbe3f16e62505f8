package com.rabbitmq.perf;

/** The part of this worker in a test of several workers. `index` counts from 0. */
record Share(int index, int count) {

  Share {
    if (count < 1 || index < 0 || index >= count) {
      throw new SpecException(
          "ATQ_SHARE_INDEX is `" + index + "` and ATQ_SHARE_COUNT is `" + count
              + "`; expected an index from 0 to below a count of at least 1");
    }
  }

  /** This worker's part of a total. The parts differ by at most 1, and their sum is the total. */
  int of(int total) {
    return total / count + (index < total % count ? 1 : 0);
  }
}
