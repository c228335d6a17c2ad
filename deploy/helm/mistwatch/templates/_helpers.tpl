{{- define "mistwatch.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "mistwatch.labels" -}}
app.kubernetes.io/name: mistwatch
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "mistwatch.image" -}}
{{ .root.Values.image.registry }}mistwatch-{{ .part }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end -}}

{{- define "mistwatch.bootstrap" -}}
{{- if .Values.kafka.embedded.enabled -}}
{{ include "mistwatch.name" . }}-kafka:9092
{{- else -}}
{{ required "kafka.bootstrap: name the brokers (HOST:PORT[,HOST:PORT]), or set kafka.embedded.enabled" .Values.kafka.bootstrap }}
{{- end -}}
{{- end -}}

{{- define "mistwatch.triton" -}}
{{- if .Values.triton.enabled -}}
{{ include "mistwatch.name" . }}-triton:8001
{{- else -}}
{{ required "triton.address: name the server (HOST:PORT), or set triton.enabled" .Values.triton.address }}
{{- end -}}
{{- end -}}

{{- define "mistwatch.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "mistwatch.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "mistwatch.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "mistwatch.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
