"""All that knows Mesos' wire: streams, calls, leaders. Nothing here decides anything."""
