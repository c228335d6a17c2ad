"""``python -P -m pipeline.cli`` is ``mistwatch``, for starting it from Python."""

from pipeline.cli.start import main

main()
